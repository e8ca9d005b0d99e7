/** A session whose look changes, as JSON: what the daemon said, each frame's epoch. For the tests in Python. */

import { connect } from 'warpaint';

const SIDE = 64;
const frame = () => Buffer.alloc(SIDE * SIDE, 90);

const client = await connect(process.argv[2]);
const source = { width: SIDE, height: SIDE, pixels: 'gray' };
const session = await client.open({ source, brief: { look: 'poster' }, maps: ['confidence', 'hops'] });
const results = session[Symbol.asyncIterator]();
const paint = async (pts) => {
  await session.push(frame(), pts);
  return (await results.next()).value;
};

const first = [await paint(0), await paint(40)];
const { request, shown } = await session.update({ look: 'pencil' });
const then = [await paint(80), await paint(120)];
const refused = await session.update({ look: 'no such look' }).catch((error) => error);
const held = await session.hold(true).catch((error) => error);
const misspelt = await client.open({ source, brief: { lok: 'ink' } }).catch((error) => error);
const short = await session.push(Buffer.alloc(3), 160).catch((error) => error);
const rekeyed = await session.rekey();
const { info, maps, picture } = await paint(160);
await session.flush();
const word = await shown;
const status = await client.status();
const totals = await session.close();
const after = await results.next();
await client.close();

console.log(
  JSON.stringify({
    request,
    epochs: [...first, ...then].map(({ info: { epoch } }) => epoch),
    shown_at: word.shown_at,
    rekeyed_at: (await rekeyed.shown).shown_at,
    errors: [refused, held, misspelt, short].map(({ name, code, retry, message }) => ({ name, code, retry, message })),
    bytes: [picture.length, maps.confidence.data.length, maps.hops.data.length],
    confidence: maps.confidence.data[0],
    canvas: session.opened.width * session.opened.height,
    keyframe: info.keyframe,
    sessions: status.sessions.length,
    totals,
    done: after.done,
  }),
);
