// Basic flows of node-redis, in RESP2 and in RESP3.
'use strict';
const {createClient, BasicClientSideCache} = require('redis');
const {assert, sleep, eventually, run, port, lockedPort} = require('./suite.js');

async function open(options = {}) {
  const client = createClient({...options, socket: {port, host: '127.0.0.1', ...options.socket}});
  client.on('error', () => {});
  await client.connect();
  return client;
}

function flows(RESP) {
  let r;
  return {
    async [`RESP${RESP} connects`]() {
      r = await open({RESP, name: 'named'});
      await r.flushAll();
      assert.equal(await r.ping(), 'PONG');
      assert.equal(await r.clientGetName(), 'named');
      assert.match(await r.info(), /redis_version:\d/);
      assert.match(await r.sendCommand(['CLIENT', 'INFO']), new RegExp('resp=' + RESP));
      const inDb = await open({RESP, database: 4});
      await inDb.set('in4', 'v');
      assert.equal(await r.get('in4'), null);
      await inDb.close();
    },
    async [`RESP${RESP} auth`]() {
      const right = await open({RESP, password: 'secret', socket: {port: lockedPort}});
      assert.equal(await right.ping(), 'PONG');
      await right.close();
      await assert.rejects(open({RESP, password: 'wrong', socket: {port: lockedPort, reconnectStrategy: false}}));
    },
    async [`RESP${RESP} strings`]() {
      assert.equal(await r.set('k', 'v'), 'OK');
      assert.equal(await r.set('k', 'w', {NX: true}), null);
      assert.equal(await r.set('k', 'w', {EX: 100, GET: true}), 'v');
      assert.equal(await r.get('k'), 'w');
      assert.equal(await r.incrBy('n', 5), 5);
      assert.equal(Number(await r.incrByFloat('f', 0.5)), 0.5);
      await r.mSet({a: '1', b: '2'});
      assert.deepEqual(await r.mGet(['a', 'b', 'none']), ['1', '2', null]);
      assert.equal(await r.getDel('a'), '1');
      assert.equal(await r.append('k', 'x'), 2);
      const big = 'z'.repeat(2000000);
      await r.set('big', big);
      assert.ok((await r.get('big')) === big);
      await assert.rejects(r.incr('k'), /not an integer/);
      await assert.rejects(r.sendCommand(['NOSUCH']), /unknown command/);
      assert.deepEqual({...(await r.configGet('maxmemory-policy'))}, {'maxmemory-policy': 'noeviction'});
    },
    async [`RESP${RESP} expiry`]() {
      await r.set('e', 'v', {PX: 40});
      await sleep(100);
      assert.equal(await r.get('e'), null);
      await r.set('e', 'v');
      assert.equal(Number(await r.expire('e', 50)), 1);
      assert.ok((await r.ttl('e')) > 40);
      assert.equal(Number(await r.persist('e')), 1);
    },
    async [`RESP${RESP} automatic pipelines`]() {
      const replies = await Promise.all(Array.from({length: 5000}, () => r.incr('piped')));
      assert.equal(replies[4999], 5000);
    },
    async [`RESP${RESP} transactions and WATCH`]() {
      assert.deepEqual(await r.multi().set('t', '1').incr('t').get('t').exec(), ['OK', 2, '2']);
      await r.watch('t');
      const other = await open({RESP});
      await other.set('t', 'changed');
      await assert.rejects(r.multi().set('t', 'mine').exec(), (error) => error.constructor.name === 'WatchError');
      assert.equal(await r.get('t'), 'changed');
      await other.close();
    },
    async [`RESP${RESP} pub/sub`]() {
      const listener = await open({RESP});
      const got = [];
      await listener.subscribe('one', (text, channel) => got.push([channel, text]));
      await listener.pSubscribe('o*', (text, channel) => got.push(['o*', channel, text]));
      assert.equal(await r.publish('one', 'hello'), 2);
      await eventually(() => got.length === 2, 'both messages');
      assert.deepEqual(got.sort(), [['o*', 'one', 'hello'], ['one', 'hello']]);
      await listener.unsubscribe('one');
      await listener.pUnsubscribe('o*');
      assert.equal(await r.publish('one', 'nobody'), 0);
      await listener.close();
    },
    async [`RESP${RESP} scan iterator`]() {
      await r.flushDb();
      await Promise.all(Array.from({length: 400}, (_, i) => r.set('scan:' + i, String(i))));
      const seen = new Set();
      for await (const keys of r.scanIterator({MATCH: 'scan:*', COUNT: 17})) [keys].flat().forEach((key) => seen.add(key));
      assert.equal(seen.size, 400);
    },
    async [`RESP${RESP} reconnects after its connection is killed`]() {
      const victim = await open({RESP, socket: {reconnectStrategy: () => 20}});
      await victim.set('k', 'before');
      const id = await victim.sendCommand(['CLIENT', 'ID']);
      await r.sendCommand(['CLIENT', 'KILL', 'ID', String(id)]);
      await eventually(async () => {
        try {
          return (await victim.get('k')) === 'before';
        } catch {
          return false;
        }
      }, 'the killed client works again');
      await victim.close();
    },
    async [`RESP${RESP} closes`]() {
      await r.close();
    },
  };
}

const caching = {
  async 'client-side cache hears of changes, expiry and flushes'() {
    const cache = new BasicClientSideCache({ttl: 0, maxEntries: 1000, evictPolicy: 'LRU'});
    const reader = await open({RESP: 3, clientSideCache: cache});
    const writer = await open({RESP: 3});
    await writer.flushAll();
    await writer.set('cached', '1');
    assert.equal(await reader.get('cached'), '1');
    const misses = cache.stats().missCount;
    for (let i = 0; i < 100; i++) assert.equal(await reader.get('cached'), '1');
    assert.equal(cache.stats().missCount, misses);
    assert.ok(cache.stats().hitCount >= 100);
    await writer.set('cached', '2');
    await eventually(async () => (await reader.get('cached')) === '2', 'a change reaches the cache');
    await writer.hSet('h', 'f', 'v');
    assert.equal(await reader.hGet('h', 'f'), 'v');
    await writer.hSet('h', 'f', 'w');
    await eventually(async () => (await reader.hGet('h', 'f')) === 'w', 'a field reaches the cache');
    await writer.set('short', 'v', {PX: 50});
    assert.equal(await reader.get('short'), 'v');
    await eventually(async () => (await reader.get('short')) === null, 'expiry reaches the cache');
    assert.equal(await reader.get('cached'), '2');
    await writer.flushAll();
    await eventually(async () => (await reader.get('cached')) === null, 'a flush reaches the cache');
    await reader.set('own', '1');
    assert.equal(await reader.get('own'), '1');
    await reader.set('own', '2');
    await eventually(async () => (await reader.get('own')) === '2', 'its own change reaches the cache');
    assert.deepEqual(await reader.multi().set('own', '3').get('own').exec(), ['OK', '3']);
    await eventually(async () => (await reader.get('own')) === '3', 'its own transaction reaches the cache');
    await reader.close();
    await writer.close();
  },
  async 'client-side cache under a storm of writes'() {
    const cache = new BasicClientSideCache({ttl: 0, maxEntries: 1000, evictPolicy: 'LRU'});
    const reader = await open({RESP: 3, clientSideCache: cache});
    const writer = await open({RESP: 3});
    for (let round = 0; round < 20; round++) {
      const writes = Array.from({length: 50}, (_, i) => writer.set('storm:' + (i % 10), round + ':' + i));
      const reads = Array.from({length: 50}, (_, i) => reader.get('storm:' + (i % 10)));
      await Promise.all([...writes, ...reads]);
    }
    for (let i = 0; i < 10; i++) {
      await eventually(async () => (await reader.get('storm:' + i)) === '19:' + (40 + i), 'the last write');
    }
    await reader.close();
    await writer.close();
  },
};

run('node-redis', {...flows(2), ...flows(3), ...caching});
