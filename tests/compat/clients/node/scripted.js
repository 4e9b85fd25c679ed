// Libraries whose atomic steps are Lua scripts: rate-limiter-flexible, redlock, ioredis commands.
'use strict';
const Redis = require('ioredis');
const Redlock = require('redlock');
const {RateLimiterRedis, RateLimiterQueue} = require('rate-limiter-flexible');
const {createClient, defineScript} = require('redis');
const {assert, sleep, run, port} = require('./suite.js');

const redis = new Redis(port, '127.0.0.1');
const lock = new Redlock([redis], {retryCount: 3, retryDelay: 30});

const tests = {
  async rateLimiterCounts() {
    const limiter = new RateLimiterRedis({storeClient: redis, points: 5, duration: 3, keyPrefix: 'limit'});
    for (let i = 1; i <= 5; i++) assert.equal((await limiter.consume('user')).consumedPoints, i);
    const refused = await limiter.consume('user').catch((result) => result);
    assert.equal(refused.remainingPoints, 0);
    assert.ok(refused.msBeforeNext > 0 && refused.msBeforeNext <= 3000);
    assert.equal((await limiter.get('user')).consumedPoints, 6);
    await limiter.reward('user', 3);
    assert.equal((await limiter.get('user')).consumedPoints, 3);
    await sleep(3050);
    assert.equal((await limiter.consume('user')).consumedPoints, 1);
  },

  async rateLimiterBlocks() {
    const limiter = new RateLimiterRedis({storeClient: redis, points: 1, duration: 1, blockDuration: 10, keyPrefix: 'block'});
    await limiter.consume('user');
    const refused = await limiter.consume('user').catch((result) => result);
    assert.ok(refused.msBeforeNext > 9000);
    await limiter.delete('user');
    await limiter.consume('user');
  },

  async rateLimiterQueueWaits() {
    const queue = new RateLimiterQueue(new RateLimiterRedis({storeClient: redis, points: 2, duration: 1, keyPrefix: 'queue'}));
    const start = Date.now();
    for (let i = 0; i < 3; i++) await queue.removeTokens(1, 'x');
    assert.ok(Date.now() - start > 500);
  },

  async locksExclude() {
    const held = await lock.lock('resource', 5000);
    await assert.rejects(lock.lock('resource', 5000), Redlock.LockError);
    const longer = await held.extend(20000);
    assert.ok(await redis.pttl('resource') > 5000);
    await longer.unlock();
    const again = await lock.lock('resource', 1000);
    await sleep(1050);
    await assert.rejects(again.unlock(), Redlock.LockError);
    await (await lock.lock(['a', 'b'], 5000)).unlock();
    assert.equal(await redis.exists('a', 'b'), 0);
  },

  async ioredisCommandsByScript() {
    redis.defineCommand('addAll', {numberOfKeys: 2, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1]) + redis.call('INCRBY', KEYS[2], ARGV[1])"});
    assert.equal(await redis.addAll('x', 'y', 5), 10);
    await redis.script('FLUSH');
    assert.equal(await redis.addAll('x', 'y', 5), 20);  // EVALSHA, NOSCRIPT, EVAL
    const results = await redis.pipeline().addAll('x', 'y', 1).addAll('x', 'y', 1).exec();
    assert.deepEqual(results.map((r) => r[1]), [22, 24]);
    const [[, first]] = await redis.multi().addAll('x', 'y', 1).exec();
    assert.equal(first, 26);
  },

  async nodeRedisScriptsAndFunctions() {
    const client = createClient({
      url: `redis://127.0.0.1:${port}`,
      RESP: 3,
      scripts: {
        add: defineScript({
          NUMBER_OF_KEYS: 1,
          SCRIPT: "return redis.call('GET', KEYS[1]) + ARGV[1]",
          parseCommand(parser, key, value) { parser.pushKey(key); parser.push(String(value)); },
          transformReply: (reply) => reply,
        }),
      },
    });
    await client.connect();
    await client.set('n', '40');
    assert.equal(await client.add('n', 2), 42);
    const code = "#!lua name=maths\nredis.register_function{function_name='square', callback=function(k, a) return a[1] * a[1] end, flags={'no-writes'}}";
    assert.equal(await client.functionLoad(code, {REPLACE: true}), 'maths');
    assert.equal(await client.fCall('square', {keys: [], arguments: ['7']}), 49);
    assert.equal(await client.fCallRo('square', {keys: [], arguments: ['8']}), 64);
    const [library] = await client.functionList({LIBRARYNAME: 'maths'});
    assert.equal(library.library_name, 'maths');
    assert.equal(library.functions[0].name, 'square');
    assert.equal((await client.functionStats()).running_script, null);
    await client.functionDelete('maths');
    await client.close();
  },
};

run('scripted', tests);
