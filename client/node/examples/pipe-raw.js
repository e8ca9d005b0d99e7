/**
 * Paints raw video from its standard input to its standard output.
 *
 *     ffmpeg -loglevel error -i in.mp4 -f rawvideo -pix_fmt yuv420p - |
 *         node examples/pipe-raw.js --size 640x360 --pixels yuv420p --fps 25 --look ink |
 *         ffplay -f rawvideo -pixel_format yuv420p -video_size 640x360 -framerate 25 -
 */

import { createWriteStream } from 'node:fs';
import { parseArgs } from 'node:util';

import { connect, pictureBytes } from 'warpaint';

const USAGE =
  'usage: pipe-raw.js --size WxH --pixels FORMAT --fps N ' +
  '[--look NAME] [--prompt TEXT] [--strength 0.75] [--painter NAME] [--daemon ADDRESS]';
const NAMES = ['size', 'pixels', 'fps', 'look', 'prompt', 'strength', 'painter', 'daemon'];

const STDOUT = 1;

/** Seconds a frame, as numerator and denominator: of 25, 29.97 or 30000/1001. */
function timeBase(fps) {
  const [, whole, decimals = '', divisor = '1'] = /^(\d+)(?:\.(\d+)|\/(\d+))?$/.exec(fps) ?? [];
  const base = [Number(divisor) * 10 ** decimals.length, Number(whole + decimals)];
  const isRatio = base.every((each) => Number.isSafeInteger(each) && each > 0);
  if (!isRatio) throw new Error(`--fps ${fps}: a number is needed, as 25 or 30000/1001`);
  return base;
}

function sizeOf(size) {
  const found = /^(\d+)x(\d+)$/.exec(size);
  if (!found) throw new Error(`--size ${size}: width and height are needed, as 640x360`);
  return { width: Number(found[1]), height: Number(found[2]) };
}

/** The frames of a stream; one that is cut off at its end is none. Reads no further than is asked for. */
async function* frames(stream, bytes) {
  let frame = Buffer.allocUnsafe(bytes); // a new one each time: it is the client's until its result has come
  let filled = 0;
  let pts = 0;
  for await (const chunk of stream) {
    for (let at = 0; at < chunk.length; ) {
      const taken = chunk.copy(frame, filled, at);
      at += taken;
      filled += taken;
      if (filled < bytes) continue;
      yield { frame, pts: pts++ };
      frame = Buffer.allocUnsafe(bytes);
      filled = 0;
    }
  }
  if (filled) console.error(`pipe-raw: the last frame is cut off, after ${filled} of ${bytes} bytes`);
}

/** Resolves when the reader has taken it: until then no more results are, and soon no more frames. */
function written(stream, bytes) {
  return new Promise((resolve, reject) => {
    stream.write(bytes, (error) => (error ? reject(error) : resolve(undefined)));
  });
}

async function main() {
  const { values } = parseArgs({ options: Object.fromEntries(NAMES.map((name) => [name, { type: 'string' }])) });
  const { size, pixels, fps, look, prompt, strength, painter, daemon } = values;
  if (!size || !pixels || !fps) throw new Error(USAGE);
  const source = { ...sizeOf(size), pixels, time_base: timeBase(fps) };
  const bytes = pictureBytes(pixels, source.width, source.height);
  const brief = { look, prompt, strength: strength === undefined ? undefined : Number(strength) };

  // Not process.stdout: a pipe would be written to while all else waits, answers to the daemon too. And even to look at
  // it would have the pipe refuse what it has no room for, instead of waiting.
  const out = createWriteStream('', { fd: STDOUT });
  out.on('error', () => {}); // each write is told of its own
  const client = await connect(daemon);
  try {
    const session = await client.open({ source, brief, painter }); // what is undefined is left to the daemon
    for await (const { picture } of session.paint(frames(process.stdin, bytes))) await written(out, picture);
  } finally {
    await client.close();
    process.stdin.destroy(); // somebody may still write to it
  }
}

main().catch((error) => {
  console.error(`pipe-raw: ${error.message}`);
  process.exitCode = 1;
});
