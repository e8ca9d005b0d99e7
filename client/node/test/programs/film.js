/**
 * A film of so many frames, painted whatever becomes of the connection. Says `some` when half of them have come back,
 * and at the end, as JSON, which did, and a digest of each. With --pause it stops at half, until a byte comes on standard
 * input, and says `on` when it has sent another frame. With --ahead frames wait for those that come, as they are noise, in
 * which nothing is found again. For the tests in Python.
 */

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { parseArgs } from 'node:util';

import { connect } from 'warpaint';

const { values } = parseArgs({
  options: {
    daemon: { type: 'string' },
    frames: { type: 'string', default: '40' },
    reconnect: { type: 'string' },
    every_ms: { type: 'string', default: '20' },
    pause: { type: 'boolean', default: false },
    ahead: { type: 'boolean', default: false },
  },
});
const COUNT = Number(values.frames);
const [WIDTH, HEIGHT] = [96, 64];

const AHEAD = { lookahead_s: 10, repaint_gap_s: 1000, keyframes: 'marked', cut_detection: false };

/** A picture that moves. */
function picture(number) {
  if (values.ahead) return randomBytes(WIDTH * HEIGHT * 3);
  const bytes = Buffer.alloc(WIDTH * HEIGHT * 3);
  for (let at = 0; at < bytes.length; at += 3) bytes.fill(((Math.floor(at / 3) + number) * 7) % 256, at, at + 3);
  return bytes;
}

async function* frames() {
  for (let number = 0; number < COUNT; number++) {
    const paused = values.pause && number === COUNT / 2;
    if (paused) await once(process.stdin, 'data');
    yield { frame: picture(number), pts: 40 * number };
    if (paused) console.log('on');
    await new Promise((resolve) => setTimeout(resolve, Number(values.every_ms)));
  }
}

try {
  const reconnect_s = values.reconnect === undefined ? null : Number(values.reconnect);
  const client = await connect(values.daemon, { reconnect_s });
  const brief = { look: 'poster', ...(values.ahead ? AHEAD : {}) };
  const session = await client.open({ source: { width: WIDTH, height: HEIGHT }, brief });
  const came = [];
  for await (const { index, picture: painted } of session.paint(frames())) {
    came.push([index, createHash('sha256').update(painted).digest('hex')]);
    if (came.length === COUNT / 2) console.log('some');
  }
  await client.close();
  process.stdin.destroy(); // or it would be waited for
  console.log(JSON.stringify(came));
} catch (error) {
  console.error(`${error.name}: ${error.message}`);
  process.exit(1);
}
