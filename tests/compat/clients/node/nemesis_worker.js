// Adds numbers to a set and prints each once it is acknowledged, until its input ends. Adding twice
// changes nothing, so the library may repeat as it likes.
//   node nemesis_worker.js ioredis|node-redis KEY HOST:PORT...
const [library, key, ...addresses] = process.argv.slice(2);
const members = addresses.map((address) => {
  const [host, port] = address.split(':');
  return { host, port: Number(port) };
});

function ioredis() {
  const Redis = require('ioredis');
  const options = { commandTimeout: 5000, connectTimeout: 500, maxRetriesPerRequest: 3 };
  const client = members.length === 1
    ? new Redis({ ...options, ...members[0] })
    : new Redis.Cluster(members, { redisOptions: options });
  client.on('error', () => {});
  return Promise.resolve((number) => client.sadd(key, number));
}

async function nodeRedis() {
  const { createClient, createCluster } = require('redis');
  const socket = { connectTimeout: 500, reconnectStrategy: 50 };
  const client = members.length === 1
    ? createClient({ socket: { ...socket, ...members[0] } })
    : createCluster({ rootNodes: members.map((member) => ({ socket: { ...socket, ...member } })), defaults: { socket } });
  client.on('error', () => {});
  await client.connect();
  return (number) => client.sAdd(key, String(number));
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
let ended = false;
process.stdin.on('data', () => {});
process.stdin.on('end', () => { ended = true; });

(async () => {
  const add = await (library === 'ioredis' ? ioredis() : nodeRedis());
  for (let number = 1; !ended; number++) {
    try {
      const late = pause(6000).then(() => { throw new Error('no answer'); });
      late.catch(() => {});
      await Promise.race([add(number), late]);
      process.stdout.write(number + '\n');
    } catch (error) {
      await pause(20);  // this number was not acknowledged
    }
    await pause(1);
  }
  process.exit(0);
})();
