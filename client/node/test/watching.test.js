/** A session that is watched: what is asked and seen, and what ends it. Messages go to and fro, without sockets. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Connection } from '../lib/connection.js';
import { Conversation } from '../lib/conversation.js';
import { MAX_WATCH_WINDOW } from '../lib/limits.js';
import { TO_CLIENT } from '../lib/messages.js';
import { Watch } from '../lib/watch.js';
import { pack, toServer } from '../wire.js';

const ID = '5d41402a';
const WATCHING = {
  ...{ type: 'watching', id: ID, client: 'camera 1.0', painter: 'filters', flow: 'dis', pacing: 'live' },
  ...{ looks: ['ink', 'pencil'], brief: { look: 'ink' }, width: 2, height: 1, epoch: 0 },
};
const RAW = Buffer.from([1, 2, 3, 4, 5, 6]);
const PAINTED = Buffer.from([6, 5, 4, 3, 2, 1]);
const FLOW = new Float32Array([0.5, -1, 0.25, 2]);
const PARTS = [
  { name: 'painted', dtype: 'uint8', shape: [1, 2, 3] },
  { name: 'raw', dtype: 'uint8', shape: [1, 2, 3] },
  { name: 'flow', dtype: 'float32', shape: [1, 2, 2] },
];
const PAYLOADS = [PAINTED, RAW, Buffer.from(FLOW.buffer)];

let connection;
let nowMs;

/** What was sent since the last time. */
const said = () => connection.outbox.splice(0).map((parts) => toServer(parts).message);
const types = () => said().map(({ type, seq, request }) => [type, seq ?? request].join(' ').trim());
/** All that the link does in a turn of the event loop, with these messages in it. */
function hear(...messages) {
  nowMs += 1;
  for (const [message, payloads] of messages.map((each) => [each].flat(1))) {
    connection.receive(pack({ session: 0, ...message }, payloads ?? [], TO_CLIENT), nowMs);
  }
  connection.tick(nowMs);
  connection.settle();
}
const seen = (seq, fields = {}) => {
  const message = { type: 'seen', seq, index: 10 * seq, pts: 40 * seq, epoch: 0, provenance: 'warped', parts: PARTS };
  return [{ ...message, ...fields }, PAYLOADS];
};
const refusal = (fields) => ({ type: 'error', code: 'unsupported', retry: 'changed', message: 'not here', ...fields });
const closed = (reason = 'asked') => ({ type: 'closed', reason, totals: {} });
const soon = () => new Promise(setImmediate);

async function watch(options = {}) {
  const asked = connection.watch({ id: ID, ...options });
  hear(WATCHING);
  return new Watch(connection, await asked);
}

beforeEach(() => {
  nowMs = 0;
  connection = new Connection('nowhere', nowMs);
  connection.connected(nowMs);
});

// What is asked for

test('what is asked for is said, and what is not is left out', async () => {
  const watched = connection.watch({ id: ID, pictures: ['painted'], maps: ['flow', 'holes'], window: 5 });
  const [{ type, session, id, pictures, maps, window }] = said();
  assert.deepEqual([type, session, id], ['watch', 0, ID]);
  assert.deepEqual([pictures, maps, window], [['painted'], ['flow', 'holes'], 5]);
  hear(WATCHING);
  assert.equal((await watched).watched.client, 'camera 1.0');
  connection.watch({ id: ID, pictures: undefined, maps: undefined, window: undefined }).catch(() => {});
  const [lean] = connection.outbox;
  assert.equal(toServer(lean).message.session, 1);
  assert.ok(lean[0].length < 50, 'a default was sent');
});

test('a watching is told apart from a session by its number', async () => {
  const opening = connection.begin({ source: { width: 1, height: 1, pixels: 'gray' } });
  const opened = { type: 'opened', token: 'abc', credit: 2, epoch: 0, painter: 'filters', flow: 'dis', looks: [] };
  hear({ ...opened, width: 1, height: 1, server: '' });
  const session = await opening;
  const asked = connection.watch({ id: ID });
  hear({ ...WATCHING, session: 1 }, [{ ...seen(1)[0], session: 1 }, PAYLOADS]);
  const watched = await asked;
  assert.ok(session instanceof Conversation);
  assert.equal(watched.take().message.index, 10);
  assert.deepEqual(said().slice(-1).map(({ type, session: number }) => [type, number]), [['ack', 1]]);
});

for (const wrong of [{ id: '' }, { id: ID, pictures: ['flow'] }, { id: ID, maps: ['raw'] }, { id: ID, window: 17 }]) {
  test(`not said: ${JSON.stringify(wrong)}`, async () => {
    await assert.rejects(connection.watch(wrong), { name: 'InvalidMessage' });
    assert.deepEqual(said(), []);
  });
}

test('a watching that is refused tells why', async () => {
  const asked = connection.watch({ id: ID });
  hear(refusal({ code: 'no_session', message: 'there is no session 5d41402a' }));
  await assert.rejects(asked, { name: 'RefusedError', code: 'no_session', message: /5d41402a/ });
  said();
  hear();
  assert.deepEqual(said(), []);
});

test('what is not answered yet is asked for again on the next connection', async () => {
  const asked = connection.watch({ id: ID });
  connection.lost(1);
  said();
  connection.connected(2);
  assert.deepEqual(types(), ['watch']);
  hear(WATCHING);
  await asked;
});

// What is seen

test('pictures and maps come as arrays, with the header', async () => {
  const watching = await watch({ maps: ['flow'] });
  hear(seen(1, { stages_ms: { match: 2.5 }, holes: 0.25 }));
  const frames = watching[Symbol.asyncIterator]();
  const { done, value } = await frames.next();
  assert.deepEqual([done, value.index, value.pts], [false, 10, 40]);
  assert.deepEqual(Object.keys(value.pictures).sort(), ['painted', 'raw']);
  assert.deepEqual([...value.pictures.raw.data], [...RAW]);
  assert.deepEqual([...value.pictures.painted.data], [...PAINTED]);
  assert.deepEqual(value.pictures.raw.shape, [1, 2, 3]);
  assert.deepEqual(value.maps, { flow: { dtype: 'float32', shape: [1, 2, 2], data: FLOW } });
  assert.deepEqual([value.info.holes, { ...value.info.stages_ms }], [0.25, { match: 2.5 }]);
  assert.equal(value.watching.brief.look, 'ink');
});

test('floats are read wherever they lie', async () => {
  const watching = await watch();
  const odd = Buffer.concat([Buffer.from([0]), PAYLOADS[2]]).subarray(1);
  hear([seen(1)[0], [PAINTED, RAW, odd]]);
  const { value } = await watching[Symbol.asyncIterator]().next();
  assert.deepEqual(value.maps.flow.data, FLOW);
});

test('each is acknowledged when it is taken, and not before', async () => {
  const watching = await watch();
  said();
  hear(seen(1), seen(2));
  assert.deepEqual(types(), []);
  const frames = watching[Symbol.asyncIterator]();
  await frames.next();
  assert.deepEqual(types(), ['ack 1']);
  await frames.next();
  assert.deepEqual(types(), ['ack 2']);
});

test('iterating waits for what comes', async () => {
  const watching = await watch();
  const came = [];
  const looking = (async () => {
    for await (const { index } of watching) came.push(index);
  })();
  await soon();
  for (const seq of [1, 2, 3]) {
    hear(seen(seq));
    await soon();
  }
  assert.deepEqual(came, [10, 20, 30]);
  hear(closed());
  await looking;
});

test('no more is kept than there may be on the way, whatever the daemon sends', async () => {
  const watching = await watch();
  for (let seq = 1; seq <= MAX_WATCH_WINDOW + 5; seq++) hear(seen(seq));
  hear(closed());
  const indices = [];
  for await (const { index } of watching) indices.push(index);
  assert.deepEqual([indices.length, indices[0]], [MAX_WATCH_WINDOW, 60]);
});

test('each frame has the Brief that holds for it', async () => {
  const watching = await watch();
  hear(seen(1), { ...WATCHING, brief: { look: 'pencil' }, epoch: 1 }, seen(2, { epoch: 1 }));
  assert.equal(watching.watching.brief.look, 'pencil');
  const frames = watching[Symbol.asyncIterator]();
  const looks = [await frames.next(), await frames.next()].map(({ value }) => value.watching.brief.look);
  assert.deepEqual(looks, ['ink', 'pencil']);
});

test('a payload that is not what its part says ends the watching', async () => {
  const watching = await watch();
  said();
  hear([seen(1)[0], [PAINTED, RAW.subarray(1), PAYLOADS[2]]]);
  await assert.rejects(watching[Symbol.asyncIterator]().next(), { name: 'DaemonGone', message: /frame 10/ });
  assert.deepEqual(types(), ['close']);
});

test('notices are kept', async () => {
  const watching = await watch();
  hear({ type: 'notice', code: 'prompt_cut', message: 'the rest was left out' });
  assert.deepEqual(watching.notices.map(({ code }) => code), ['prompt_cut']);
});

test('a session passes over what is seen: its `seq` is another', () => {
  const sent = [];
  const session = new Conversation({ type: 'open', session: 0, source: {} }, (parts) => sent.push(parts));
  session.receive({ type: 'opened', session: 0, seq: null, credit: 2 }, [], 0);
  session.receive(seen(7)[0], PAYLOADS, 0);
  session.settle();
  assert.deepEqual(sent, []);
});

// Steering

test('update, rekey and hold are for the session, and numbered in the watching', async () => {
  const watching = await watch();
  said();
  const updating = watching.update({ look: 'pencil' });
  const rekeying = watching.rekey();
  const holding = watching.hold(true);
  const [update, rekey, hold] = said();
  assert.deepEqual([update.type, update.session, update.request], ['update', 0, 1]);
  assert.deepEqual({ ...update.changes }, { look: 'pencil' });
  assert.deepEqual([rekey.type, rekey.request], ['rekey', 2]);
  assert.deepEqual([hold.type, hold.request, hold.on], ['hold', 3, true]);
  hear(...[1, 2, 3].map((request) => ({ type: 'updated', request })));
  const { request, shown } = await updating;
  assert.equal(request, 1);
  assert.equal((await rekeying).request, 2);
  await holding;
  hear({ type: 'updated', request: 1, epoch: 1, shown_at: 4 });
  assert.equal((await shown).shown_at, 4);
});

test('a request that is refused ends nothing', async () => {
  const watching = await watch();
  const updating = watching.update({ look: 'none' });
  hear(refusal({ code: 'bad_brief', request: 1 }));
  await assert.rejects(updating, { name: 'RefusedError', code: 'bad_brief' });
  await assert.rejects(watching.update({ seed: new Date() }), { name: 'InvalidMessage' });
  hear(seen(1));
  assert.equal((await watching[Symbol.asyncIterator]().next()).done, false);
});

// Its end

test('close ends the watching, and iterating with it', async () => {
  const watching = await watch();
  const next = watching[Symbol.asyncIterator]().next();
  const closing = watching.close();
  assert.deepEqual(types().slice(-1), ['close']);
  hear(seen(1));
  assert.equal((await next).value.index, 10);
  assert.deepEqual(types(), [], 'nothing is acknowledged after `close`');
  await assert.rejects(watching.rekey(), { name: 'DaemonGone' });
  hear(closed());
  await closing;
  assert.equal((await watching[Symbol.asyncIterator]().next()).done, true);
  await watching.close();
  assert.deepEqual(types(), []);
});

test('close that meets with the end of the session is done', async () => {
  const watching = await watch();
  const closing = watching.close();
  hear(refusal({ code: 'no_session' }));
  await closing;
  assert.equal((await watching[Symbol.asyncIterator]().next()).done, true);
});

test('what comes after the end is of no account', async () => {
  const watching = await watch();
  hear(closed(), refusal({ code: 'internal' }), closed('failed'), seen(1));
  assert.equal((await watching[Symbol.asyncIterator]().next()).done, true);
});

for (const reason of ['client_gone', 'shutting_down', 'failed']) {
  test(`a session that ends otherwise is told: ${reason}`, async () => {
    const watching = await watch();
    const updating = watching.update({ seed: 3 });
    hear({ type: 'updated', request: 1 });
    const { shown } = await updating;
    hear(seen(1), closed(reason));
    const frames = watching[Symbol.asyncIterator]();
    assert.equal((await frames.next()).value.index, 10);
    await assert.rejects(frames.next(), { name: 'DaemonGone', message: new RegExp(reason) });
    assert.equal(await shown, null);
    await watching.close();
  });
}

test('a connection that is lost is the end, and nothing is asked again', async () => {
  const watching = await watch();
  const { shown } = await (async () => {
    const updating = watching.update({ seed: 3 });
    hear({ type: 'updated', request: 1 });
    return updating;
  })();
  const rekeying = watching.rekey();
  const next = watching[Symbol.asyncIterator]().next();
  connection.lost(nowMs);
  connection.settle();
  await assert.rejects(rekeying, { name: 'DaemonGone' });
  await assert.rejects(next, { name: 'DaemonGone', message: /connection .* was lost/ });
  assert.equal(await shown, null);
  connection.connected(nowMs);
  hear();
  assert.deepEqual(types(), []);
});

test('a daemon that does not know it any more is told', async () => {
  const watching = await watch();
  const rekeying = watching.rekey();
  hear(refusal({ code: 'no_session', request: 1 }));
  await assert.rejects(rekeying, { name: 'DaemonGone' });
});

test('a client that closes says so', async () => {
  const watching = await watch();
  said();
  connection.end('the client is closed');
  assert.deepEqual(types(), ['close']);
  await assert.rejects(watching[Symbol.asyncIterator]().next(), { message: 'the client is closed' });
});
