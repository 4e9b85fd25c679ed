// The cluster clients of ioredis and node-redis against a cluster of one server, which announces no
// address of its own.
'use strict';
const Redis = require('ioredis');
const {createCluster} = require('redis');
const {assert, eventually, run, port} = require('./suite.js');

const tests = {};

tests['ioredis finds the slots, pipelines and runs transactions'] = async () => {
  const r = new Redis.Cluster([{host: '127.0.0.1', port}]);
  for (let i = 0; i < 200; i++) assert.equal(await r.set(`key:${i}`, i), 'OK');
  assert.equal(await r.get('key:77'), '77');
  assert.deepEqual(await r.mset('{t}a', 1, '{t}b', 2), 'OK');
  assert.deepEqual(await r.pipeline().get('{t}a').get('{t}b').exec(), [[null, '1'], [null, '2']]);
  assert.deepEqual(await r.multi().incr('{t}a').get('{t}b').exec(), [[null, 2], [null, '2']]);
  await assert.rejects(r.mget('a', 'b'), /CROSSSLOT/);
  assert.equal(await r.eval("return redis.call('get', KEYS[1])", 1, '{t}b'), '2');
  assert.equal(r.nodes('master').length, 1);
  r.disconnect();
};

tests['ioredis reads from replicas when asked to'] = async () => {
  const r = new Redis.Cluster([{host: '127.0.0.1', port}], {scaleReads: 'all'});
  await r.set('x', 'y');
  assert.equal(await r.get('x'), 'y');
  r.disconnect();
};

tests['ioredis hears sharded channels'] = async () => {
  const r = new Redis.Cluster([{host: '127.0.0.1', port}], {shardedSubscribers: true});
  const plain = new Redis({port, host: '127.0.0.1'});
  const heard = [];
  r.on('smessage', (channel, message) => heard.push([channel, message]));
  await r.ssubscribe('news');
  await eventually(async () => (await plain.spublish('news', 'hello')) === 1, 'a subscriber');
  await eventually(() => heard.length > 0, 'the message');
  assert.deepEqual(heard[0], ['news', 'hello']);
  r.disconnect();
  plain.disconnect();
};

for (const RESP of [2, 3]) {
  tests[`node-redis finds the slots in RESP${RESP}`] = async () => {
    const r = createCluster({rootNodes: [{url: `redis://127.0.0.1:${port}`}], defaults: {RESP}});
    r.on('error', () => {});
    await r.connect();
    for (let i = 0; i < 200; i++) assert.equal(await r.set(`key:${i}`, String(i)), 'OK');
    assert.equal(await r.get('key:77'), '77');
    assert.deepEqual(await r.multi().set('{u}a', '1').get('{u}a').exec(), ['OK', '1']);
    await assert.rejects(r.mGet(['a', 'b']), /CROSSSLOT/);
    let message;
    await r.sSubscribe('shard', (text) => (message = text));
    await r.sPublish('shard', 'hello');
    await eventually(() => message === 'hello', 'the message');
    assert.equal(r.masters.length, 1);
    r.destroy();
  };
}

run('cluster', tests);
