// BullMQ: every move of a job is a Lua script that uses cmsgpack, sorted sets, streams and hashes.
'use strict';
const {Queue, Worker, QueueEvents, FlowProducer} = require('bullmq');
const {assert, sleep, eventually, run, port} = require('./suite.js');

const connection = {host: '127.0.0.1', port, maxRetriesPerRequest: null};
let names = 0;

// A queue with a worker, closed behind the test.
async function withQueue(process, options, test) {
  const name = 'queue' + ++names;
  const queue = new Queue(name, {connection});
  const events = new QueueEvents(name, {connection});
  await events.waitUntilReady();
  const worker = new Worker(name, process, {connection, ...options});
  try {
    await test(queue, worker, events, name);
  } finally {
    await worker.close(true);
    await events.close();
    await queue.close();
  }
}

const tests = {
  async jobsAreProcessed() {
    const seen = [];
    await withQueue(async (job) => { seen.push(job.data.n); return job.data.n * 2; }, {concurrency: 10}, async (queue, _, events) => {
      const jobs = await queue.addBulk(Array.from({length: 200}, (__, n) => ({name: 'double', data: {n}})));
      assert.equal(await jobs[199].waitUntilFinished(events, 10000), 398);
      await eventually(async () => (await queue.getJobCounts('completed')).completed === 200, 'all completed');
      assert.deepEqual(seen.sort((a, b) => a - b), Array.from({length: 200}, (__, n) => n));
      const job = await queue.getJob(jobs[7].id);
      assert.equal(job.returnvalue, 14);
      assert.equal(await job.getState(), 'completed');
    });
  },

  async delayedJobsWait() {
    const at = [];
    await withQueue(async () => { at.push(Date.now()); }, {}, async (queue, _, events) => {
      const start = Date.now();
      const job = await queue.add('later', {}, {delay: 300});
      assert.equal(await job.getState(), 'delayed');
      await job.waitUntilFinished(events, 10000);
      assert.ok(at[0] - start >= 290, 'ran after ' + (at[0] - start) + ' ms');
    });
  },

  async failedJobsAreTriedAgain() {
    let tries = 0;
    await withQueue(async () => { if (++tries < 3) throw new Error('try ' + tries); return 'third'; }, {}, async (queue, _, events) => {
      const job = await queue.add('shaky', {}, {attempts: 3, backoff: {type: 'fixed', delay: 20}});
      assert.equal(await job.waitUntilFinished(events, 10000), 'third');
      assert.equal((await queue.getJob(job.id)).attemptsMade, 3);
    });
    await withQueue(async () => { throw new Error('never'); }, {}, async (queue, _, events) => {
      const job = await queue.add('hopeless', {}, {attempts: 2});
      await assert.rejects(job.waitUntilFinished(events, 10000), /never/);
      assert.equal((await queue.getFailed()).length, 1);
      assert.match((await queue.getJob(job.id)).failedReason, /never/);
      await (await queue.getJob(job.id)).retry();
      await eventually(async () => (await queue.getJob(job.id)).attemptsMade === 3, 'retried by hand');
    });
  },

  async theRateIsLimited() {
    const at = [];
    await withQueue(async () => { at.push(Date.now()); }, {limiter: {max: 2, duration: 200}, concurrency: 5}, async (queue) => {
      await queue.addBulk(Array.from({length: 6}, () => ({name: 'limited', data: {}})));
      await eventually(() => at.length === 6, 'all ran', 10000);
      assert.ok(at[5] - at[0] >= 350, 'six jobs took ' + (at[5] - at[0]) + ' ms');
    });
  },

  async prioritiesDecide() {
    const order = [];
    await withQueue(async (job) => { order.push(job.data.p); }, {autorun: false}, async (queue, worker) => {
      for (const p of [3, 1, 2, 10, 5]) await queue.add('p', {p}, {priority: p});
      worker.run();
      await eventually(() => order.length === 5, 'all ran');
      assert.deepEqual(order, [1, 2, 3, 5, 10]);
    });
  },

  async parentsWaitForChildren() {
    const order = [];
    await withQueue(async (job) => {
      order.push(job.name);
      if (job.name === 'parent') return Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0);
      return job.data.value;
    }, {concurrency: 4}, async (queue, _, events, name) => {
      const flow = new FlowProducer({connection});
      const tree = await flow.add({name: 'parent', queueName: name, children: [
        {name: 'child', queueName: name, data: {value: 1}},
        {name: 'child', queueName: name, data: {value: 2}, children: [{name: 'grandchild', queueName: name, data: {value: 40}}]},
      ]});
      assert.equal(await tree.job.waitUntilFinished(events, 10000), 3);
      assert.equal(order.at(-1), 'parent');
      assert.equal(order.length, 4);
      await flow.close();
    });
  },

  async schedulersRepeat() {
    let runs = 0;
    await withQueue(async () => { runs++; }, {}, async (queue) => {
      await queue.upsertJobScheduler('tick', {every: 60}, {name: 'tick'});
      await eventually(() => runs >= 3, 'three runs');
      assert.equal((await queue.getJobSchedulers()).length, 1);
      await queue.removeJobScheduler('tick');
      await sleep(100);
      const after = runs;
      await sleep(200);
      assert.equal(runs, after);
    });
  },

  async queuesArePausedAndEmptied() {
    let ran = 0;
    await withQueue(async () => { ran++; }, {}, async (queue) => {
      await queue.pause();
      await queue.add('held', {});
      await queue.add('gone', {}, {jobId: 'mine'});
      await sleep(100);
      assert.equal(ran, 0);
      await (await queue.getJob('mine')).remove();
      await queue.resume();
      await eventually(() => ran === 1, 'the held job');
      await queue.pause();
      await queue.addBulk(Array.from({length: 50}, () => ({name: 'x', data: {}})));
      await queue.drain();
      assert.equal(await queue.count(), 0);
      await queue.obliterate({force: true});
    });
  },

  async progressAndLogsAreKept() {
    await withQueue(async (job) => { await job.updateProgress(50); await job.log('half'); await job.updateData({changed: true}); },
      {}, async (queue, _, events) => {
        const progress = [];
        events.on('progress', ({data}) => progress.push(data));
        const job = await queue.add('steps', {});
        await job.waitUntilFinished(events, 10000);
        assert.deepEqual((await queue.getJobLogs(job.id)).logs, ['half']);
        assert.deepEqual((await queue.getJob(job.id)).data, {changed: true});
        await eventually(() => progress[0] === 50, 'the event');
      });
  },

  async jobsAreDeduplicatedAndCleaned() {
    await withQueue(async () => {}, {}, async (queue, _, events) => {
      const first = await queue.add('once', {}, {delay: 500, deduplication: {id: 'same', ttl: 5000}});
      const second = await queue.add('once', {}, {delay: 500, deduplication: {id: 'same', ttl: 5000}});
      assert.equal(second.id, first.id);
      const done = await queue.add('now', {});
      await done.waitUntilFinished(events, 10000);
      await sleep(5);
      assert.deepEqual(await queue.clean(0, 10, 'completed'), [done.id]);
      await (await queue.getJob(first.id)).promote();
      await first.waitUntilFinished(events, 10000);
    });
  },
};

run('bullmq', tests);
