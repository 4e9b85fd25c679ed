// Runs named async tests one after another; prints a line each and `N passed, N failed`.
'use strict';
const assert = require('node:assert/strict');

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function eventually(condition, what, ms = 5000) {
  const until = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > until) throw new Error('not in time: ' + what);
    await sleep(5);
  }
}

function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in ' + ms + ' ms')), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function run(library, tests) {
  let passed = 0, failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await within(20000, test());
      passed++;
      console.log(`ok   ${library}: ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${library}: ${name}: ${error.stack}`);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

module.exports = {assert, sleep, eventually, run, port: Number(process.argv[2]), lockedPort: Number(process.argv[3])};
