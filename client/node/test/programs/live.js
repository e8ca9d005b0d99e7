/** A second of a live session, as JSON: what became of its frames, and of `hold`. For the tests in Python. */

import { setTimeout as sleep } from 'node:timers/promises';

import { connect } from 'warpaint';

const SIDE = 64;
const FRAMES = 50;
const RATE = 50;

const client = await connect(process.argv[2]);
const source = { width: SIDE, height: SIDE, pixels: 'gray', rate: RATE };
const session = await client.open({ source, pacing: 'live', max_delay_ms: 1000, brief: { look: 'poster' } });

async function camera() {
  let longest_ms = 0;
  for (let number = 0; number < FRAMES; number++) {
    const begun = performance.now();
    await session.push(Buffer.alloc(SIDE * SIDE, number), Math.round((1000 * number) / RATE));
    longest_ms = Math.max(longest_ms, performance.now() - begun);
    if (number === FRAMES / 2) await session.hold(true);
    await sleep(1000 / RATE);
  }
  return { longest_ms, totals: await session.close() };
}

const filming = camera();
const came = [];
for await (const { index, pts, picture, info } of session) came.push([index, pts, picture.length, info.provenance]);
const { longest_ms, totals } = await filming;
await client.close();
const dropped = Object.values(session.dropped).reduce((sum, count) => sum + count, 0);
console.log(JSON.stringify({ came, dropped, drops: session.drops.length, totals, longest_ms }));
