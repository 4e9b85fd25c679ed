// ioredis and node-redis over TLS. Arguments: port, certificate authority, certificate, key.
'use strict';
const fs = require('node:fs');
const Redis = require('ioredis');
const {createClient} = require('redis');
const {assert, run, port} = require('./suite.js');

const [ca, cert, key] = process.argv.slice(3, 6).map((path) => fs.readFileSync(path));
const tls = {ca, cert, key, servername: 'localhost'};
const open = (options = {}) => new Redis({port, host: '127.0.0.1', tls, ...options});

run('TLS', {
  async 'ioredis: large values both ways in a pipeline'() {
    const r = open();
    const value = Buffer.alloc(300000, 'abcdefg');
    const pipeline = r.pipeline();
    for (let i = 0; i < 40; i++) pipeline.set('k' + i, value).getBuffer('k' + i);
    const replies = await pipeline.exec();
    assert.equal(replies.length, 80);
    for (let i = 1; i < 80; i += 2) assert.ok(replies[i][1].equals(value));
    r.disconnect();
  },
  async 'ioredis: subscriber beside a publisher'() {
    const [hears, speaks] = [open(), open()];
    await hears.subscribe('news');
    const heard = new Promise((done) => hears.on('message', (channel, text) => done(text)));
    assert.equal(await speaks.publish('news', 'hello'), 1);
    assert.equal(await heard, 'hello');
    hears.disconnect();
    speaks.disconnect();
  },
  async 'ioredis: no certificate, no service'() {
    const stranger = open({tls: {ca, servername: 'localhost'}, retryStrategy: null, maxRetriesPerRequest: 0});
    stranger.on('error', () => {});
    await assert.rejects(stranger.ping());
    stranger.disconnect();
  },
  async 'node-redis: RESP3 and many commands at once'() {
    const client = createClient({RESP: 3, socket: {port, host: '127.0.0.1', tls: true, ...tls}});
    await client.connect();
    const replies = await Promise.all(Array.from({length: 2000}, () => client.incr('n')));
    assert.equal(replies.at(-1), 2000);
    client.destroy ? client.destroy() : await client.disconnect();
  },
});
