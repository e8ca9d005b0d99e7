/**
 * Paints a folder of JPEGs to another folder. They are taken for the frames of a film, in the order of their names.
 *
 *     node examples/paint-folder.js photos painted --look ink
 */

import { mkdir, readFile, readdir, realpath, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { parseArgs } from 'node:util';

import { connect } from 'warpaint';

const USAGE =
  'usage: paint-folder.js FROM TO [--look NAME] [--prompt TEXT] [--strength 0.75] [--painter NAME] [--daemon ADDRESS]';
const NAMES = ['look', 'prompt', 'strength', 'painter', 'daemon'];
const FRAME_MS = 40; // from one to the next, as films have it

/** Width and height in pixels, from the frame header (ITU-T T.81, B.2.2). */
function jpegSize(bytes, name) {
  const isHeader = (marker) => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
  if (bytes.length < 4 || bytes.readUInt16BE(0) !== 0xffd8) throw new Error(`${name} is no JPEG`);
  for (let at = 2; at + 9 <= bytes.length && bytes[at] === 0xff; at += 2 + bytes.readUInt16BE(at + 2)) {
    if (isHeader(bytes[at + 1])) return { width: bytes.readUInt16BE(at + 7), height: bytes.readUInt16BE(at + 5) };
  }
  throw new Error(`${name} has no size`);
}

/** The pictures in runs of one size: each run is a session. */
async function runs(folder) {
  const isJpeg = (name) => ['.jpg', '.jpeg'].includes(extname(name).toLowerCase());
  const names = (await readdir(folder)).filter(isJpeg).sort();
  if (names.length === 0) throw new Error(`there are no JPEGs in ${folder}`);
  const made = [];
  for (const name of names) {
    const size = jpegSize(await readFile(join(folder, name)), name);
    const last = made.at(-1);
    if (last?.size.width === size.width && last.size.height === size.height) last.names.push(name);
    else made.push({ size, names: [name] });
  }
  return made;
}

async function* frames(folder, names) {
  for (const [number, name] of names.entries()) {
    yield { frame: await readFile(join(folder, name)), pts: FRAME_MS * number };
  }
}

async function main() {
  const { values, positionals } = parseArgs({
    options: Object.fromEntries(NAMES.map((name) => [name, { type: 'string' }])),
    allowPositionals: true,
  });
  const [from, to] = positionals;
  if (positionals.length !== 2) throw new Error(USAGE);
  await mkdir(to, { recursive: true });
  if ((await realpath(from)) === (await realpath(to))) throw new Error('the pictures would be written over');
  const { look, prompt, strength } = values;
  const brief = { look, prompt, strength: strength === undefined ? undefined : Number(strength) };

  const films = await runs(from);
  const client = await connect(values.daemon);
  try {
    for (const { size, names } of films) {
      // What is undefined is left to the daemon. Results come as the frames went: as JPEGs.
      const session = await client.open({ source: { ...size, encoding: 'jpeg' }, brief, painter: values.painter });
      const failed = ({ index, message }) => {
        console.error(`${names[index]}: ${message}`);
        process.exitCode = 1;
      };
      for await (const { index, picture } of session.paint(frames(from, names), { failed })) {
        await writeFile(join(to, names[index]), picture);
      }
    }
  } finally {
    await client.close();
  }
}

main().catch((error) => {
  console.error(`paint-folder: ${error.message}`);
  process.exitCode = 1;
});
