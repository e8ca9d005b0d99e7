/**
 * A camera for the Node client: pushes live pictures by the clock, and notes when each went and when it came back.
 *
 *     node latency.js ADDRESS FOLDER ENCODING WIDTH HEIGHT RATE COUNT MAX_DELAY_MS
 *
 * FOLDER holds the payloads, one a file, in order of name; they are shown over and over. Each line of the output is a
 * frame: its index, when it was pushed, and when its result was there, milliseconds; those that were dropped are left out.
 */

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { connect } from 'warpaint';

const [address, folder, encoding, ...numbers] = process.argv.slice(2);
const [width, height, rate, count, max_delay_ms] = numbers.map(Number);
const payloads = readdirSync(folder).sort().map((name) => readFileSync(join(folder, name)));
const pushed = [];

const client = await connect(address);
const source = { width, height, encoding };
const session = await client.open({ source, pacing: 'live', painter: 'identity', max_delay_ms });

async function film() {
  const began = performance.now();
  for (let number = 0; number < count; number++) {
    await sleep(Math.max(0, began + (1000 * number) / rate - performance.now()));
    pushed.push(performance.now());
    await session.push(payloads[number % payloads.length], Math.round((1000 * number) / rate));
  }
  await session.close();
}

const filming = film();
const lines = [];
for await (const { index } of session) lines.push(`${index} ${pushed[index]} ${performance.now()}`);
await filming;
await client.close();
console.log(lines.join('\n'));
