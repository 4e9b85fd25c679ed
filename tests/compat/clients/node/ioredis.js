// Basic flows of ioredis.
'use strict';
const Redis = require('ioredis');
const {assert, sleep, eventually, run, port, lockedPort} = require('./suite.js');

const open = (options = {}) => new Redis({port, host: '127.0.0.1', ...options});
const r = open();

run('ioredis', {
  async 'connects, waits until ready, reads INFO'() {
    await r.flushall();
    assert.equal(await r.ping(), 'PONG');
    assert.equal(r.status, 'ready');
    assert.match(await r.info(), /redis_version:\d/);
    assert.ok((await r.command('COUNT')) > 80);
    const named = open({connectionName: 'named', db: 3});
    assert.equal(await named.client('GETNAME'), 'named');
    await named.set('in3', 'v');
    assert.equal(await r.get('in3'), null);
    named.disconnect();
  },
  async 'auth'() {
    const wrong = open({port: lockedPort, password: 'wrong', retryStrategy: null});
    wrong.on('error', () => {});
    await assert.rejects(wrong.get('x'));
    wrong.disconnect();
    const right = open({port: lockedPort, password: 'secret'});
    assert.equal(await right.ping(), 'PONG');
    right.disconnect();
    const user = open({port: lockedPort, username: 'default', password: 'secret'});
    assert.equal(await user.ping(), 'PONG');
    user.disconnect();
  },
  async 'strings'() {
    assert.equal(await r.set('k', 'v'), 'OK');
    assert.equal(await r.get('k'), 'v');
    assert.equal(await r.set('k', 'w', 'NX'), null);
    assert.equal(await r.set('k', 'w', 'EX', 100, 'GET'), 'v');
    assert.ok((await r.ttl('k')) > 90);
    assert.equal(await r.incrby('n', 5), 5);
    assert.equal(await r.incrbyfloat('f', 0.5), '0.5');
    assert.equal(await r.mset({a: 1, b: 2}), 'OK');
    assert.deepEqual(await r.mget('a', 'b', 'none'), ['1', '2', null]);
    assert.equal(await r.append('k', 'x'), 2);
    const bytes = Buffer.from([0, 255, 13, 10]);
    await r.set('bin', bytes);
    assert.deepEqual(await r.getBuffer('bin'), bytes);
    const big = Buffer.alloc(2000000, 'z');
    await r.set('big', big);
    assert.ok((await r.getBuffer('big')).equals(big));
    await assert.rejects(r.incr('k'), /not an integer/);
    await assert.rejects(r.call('NOSUCH'), /unknown command/);
  },
  async 'expiry'() {
    await r.set('e', 'v', 'PX', 40);
    await sleep(100);
    assert.equal(await r.get('e'), null);
    await r.set('e', 'v');
    assert.equal(await r.expire('e', 50), 1);
    assert.equal(await r.persist('e'), 1);
    assert.equal(await r.ttl('e'), -1);
  },
  async 'pipelines'() {
    const pipe = r.pipeline();
    for (let i = 0; i < 5000; i++) pipe.incr('piped');
    const replies = await pipe.exec();
    assert.deepEqual(replies[4999], [null, 5000]);
    const many = await Promise.all(Array.from({length: 2000}, (_, i) => r.set('many:' + i, i)));
    assert.ok(many.every((reply) => reply === 'OK'));
    const auto = open({enableAutoPipelining: true});
    const values = await Promise.all(Array.from({length: 500}, (_, i) => auto.get('many:' + i)));
    assert.deepEqual(values.slice(0, 3), ['0', '1', '2']);
    auto.disconnect();
  },
  async 'transactions and WATCH'() {
    assert.deepEqual(await r.multi().set('t', 1).incr('t').exec(), [[null, 'OK'], [null, 2]]);
    await r.watch('t');
    const other = open();
    await other.set('t', 'changed');
    assert.equal(await r.multi().set('t', 'mine').exec(), null);
    assert.equal(await r.get('t'), 'changed');
    const failed = await r.multi().incr('t').get('t').exec();
    assert.match(failed[0][0].message, /not an integer/);
    assert.equal(failed[1][1], 'changed');
    other.disconnect();
  },
  async 'pub/sub'() {
    const listener = open();
    const got = [];
    listener.on('message', (channel, text) => got.push([channel, text]));
    listener.on('pmessage', (pattern, channel, text) => got.push([pattern, channel, text]));
    assert.equal(await listener.subscribe('one', 'two'), 2);
    assert.equal(await listener.psubscribe('o*'), 3);
    assert.equal(await r.publish('one', 'hello'), 2);
    await eventually(() => got.length === 2, 'both messages');
    assert.deepEqual(got, [['one', 'hello'], ['o*', 'one', 'hello']]);
    assert.equal(await listener.unsubscribe('one', 'two'), 1);
    assert.equal(await listener.punsubscribe('o*'), 0);
    assert.equal(await listener.get('none'), null);
    listener.disconnect();
  },
  async 'scan streams'() {
    await r.flushdb();
    await Promise.all(Array.from({length: 400}, (_, i) => r.set('scan:' + i, i)));
    const seen = new Set();
    for await (const keys of r.scanStream({match: 'scan:*', count: 17})) keys.forEach((key) => seen.add(key));
    assert.equal(seen.size, 400);
  },
  async 'invalidations by way of a subscriber'() {
    const listener = open();
    const got = [];
    const listenerId = await listener.client('ID');
    listener.on('message', (channel, keys) => got.push([channel, keys]));
    await listener.subscribe('__redis__:invalidate');
    const reader = open();
    assert.equal(await reader.client('TRACKING', 'ON', 'REDIRECT', listenerId), 'OK');
    assert.equal(await reader.client('GETREDIR'), listenerId);
    await reader.mget('tracked:1', 'tracked:2');
    await r.set('tracked:1', 'v');
    await r.set('tracked:1', 'w');
    await r.del('tracked:2');
    await r.set('tracked:2', 'v');
    await eventually(() => got.length === 2, 'both keys');
    // It makes strings of what comes as arrays.
    assert.deepEqual(got, [['__redis__:invalidate', 'tracked:1'], ['__redis__:invalidate', 'tracked:2']]);
    await r.flushdb();
    await eventually(() => got.length === 3, 'the flush');
    assert.equal(got[2][0], '__redis__:invalidate');
    reader.disconnect();
    listener.disconnect();
  },
  async 'reconnects after its connection is killed'() {
    const victim = open({retryStrategy: () => 20});
    victim.on('error', () => {});
    await victim.set('k', 'before');
    await r.client('KILL', 'ID', await victim.client('ID'));
    assert.equal(await victim.get('k'), 'before');
    victim.disconnect();
  },
  async 'quits'() {
    assert.equal(await r.quit(), 'OK');
  },
});
