/** What a session may send, and what becomes of it when the connection is lost: without sockets. */

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Conversation } from '../lib/conversation.js';
import { Ledger } from '../lib/ledger.js';
import { MAX_REQUESTS } from '../lib/limits.js';
import { toServer } from '../wire.js';

const SOURCE = { width: 1, height: 1, pixels: 'gray' };
const PIXEL = Buffer.from([7]);
const OPENED = { type: 'opened', session: 0, token: 'abc', credit: 2, epoch: 0, linger_s: 30 };
const RESUMED = { type: 'resumed', session: 0, credit: 2, last_index: null, last_request: null, pending: [] };

let sent;
let conversation;
let seq;

/** What was sent since the last time. */
const said = () => sent.splice(0).map((parts) => toServer(parts).message);
const types = () => said().map(({ type, index, request }) => [type, index ?? request].join(' ').trim());
const hear = (message, payloads = []) => conversation.receive({ session: 0, seq: null, ...message }, payloads, 1000);
const answer = (message, payloads) => hear({ seq: ++seq, ...message }, payloads);
const painted = (index) => answer({ type: 'painted', index, pts: index, parts: [{ name: 'picture' }] }, [PIXEL]);
const refusal = (fields) => hear({ type: 'error', index: null, request: null, retry: 'no', message: '', ...fields });
const push = (count) => Array.from({ length: count }, () => conversation.frame(0, PIXEL));
const outcome = () => conversation.results.splice(0).map(({ type, message }) => `${type} ${message.index}`);

function begin(pacing = 'every') {
  sent = [];
  seq = 0;
  conversation = new Conversation({ type: 'open', session: 0, source: SOURCE, pacing }, (parts) => sent.push(parts));
  conversation.connected();
  hear(OPENED);
  said();
}

function lose() {
  conversation.lost(0);
  conversation.connected();
  conversation.settle();
}

beforeEach(() => begin());

// Credit

test('no more frames are sent than the credit', () => {
  assert.deepEqual(push(2), [0, 1]);
  assert.equal(conversation.maySend, false);
  assert.throws(() => push(1), { code: 'window_overrun', retry: 'later' });
  painted(0);
  assert.deepEqual(push(1), [2]);
  assert.deepEqual(types(), ['frame 0', 'frame 1', 'frame 2']);
});

test('a frame is marked as a keyframe if it is to be painted in full', () => {
  const still = Buffer.from([1, 2, 3]);
  conversation.frame(0, PIXEL);
  conversation.frame(40, PIXEL, { still }, true);
  assert.deepEqual(said().map(({ keyframe, controls }) => [keyframe, controls]), [[false, []], [true, ['still']]]);
});

test('credit replaces the number', () => {
  hear({ type: 'credit', frames: 0 });
  assert.equal(conversation.maySend, false);
  hear({ type: 'credit', frames: 3 });
  push(3);
  assert.equal(conversation.maySend, false);
});

test('a frame is answered once, whatever answers it', () => {
  push(2);
  painted(0);
  painted(0);
  answer({ type: 'dropped', index: 1, pts: 0, stage: 'decode', reason: 'bad_frame' });
  assert.equal(conversation.unanswered, 0);
  assert.deepEqual(outcome(), ['painted 0', 'dropped 1']);
  assert.deepEqual(conversation.dropped, { 'decode: bad_frame': 1 });
});

test('a frame that fails does not end the session', () => {
  push(1);
  answer({ type: 'error', index: 0, request: null, code: 'painter_failed', retry: 'later', message: 'no paint' });
  assert.deepEqual(outcome(), ['error 0']);
  conversation.check();
  push(1);
});

test('in live, a frame without credit is dropped and told', () => {
  begin('live');
  push(3);
  assert.deepEqual(types(), ['frame 0', 'frame 1']);
  assert.deepEqual(conversation.drops, [{ index: 2, pts: 0, stage: 'client', reason: 'window_overrun' }]);
  conversation.lost(0);
  push(1);
  assert.equal(conversation.dropped['client: lost'], 1);
});

test('in live, no more results are kept than the credit', () => {
  begin('live');
  for (let index = 0; index < 5; index++) {
    push(1);
    painted(index);
  }
  assert.deepEqual(outcome(), ['painted 3', 'painted 4']);
  assert.deepEqual(conversation.dropped, { 'client: slow_reader': 3 });
});

test('what is no value of the wire is not owed', () => {
  assert.throws(() => conversation.frame(0.5, PIXEL), { code: 'invalid_field' });
  conversation.lost(0);
  assert.throws(() => conversation.ask('update', { changes: { seed: new Date() } }), { code: 'invalid_field' });
  assert.equal(conversation.unanswered, 0);
  assert.deepEqual(push(1), [0]);
});

// Acknowledging

test('one ack for many answers', () => {
  push(2);
  painted(0);
  painted(1);
  said();
  conversation.settle();
  conversation.settle();
  assert.deepEqual(said().map(({ type, seq }) => [type, seq]), [['ack', 2]]);
});

// Coming back

test('resume names the token and the last answer', () => {
  push(2);
  painted(0);
  said();
  lose();
  const [{ type, token, seq: last }, ...more] = said();
  assert.deepEqual([type, token, last, more.length], ['resume', 'abc', 1, 0]);
});

test('frames that did not arrive are sent again, in order, and requests in their place', () => {
  hear({ type: 'credit', frames: 8 });
  push(1);
  conversation.ask('update', { changes: { seed: 1 } });
  push(1);
  said();
  lose();
  push(1);
  assert.deepEqual(types(), ['resume'], 'nothing is sent before `resumed`');
  hear({ ...RESUMED, credit: 8 });
  assert.deepEqual(types(), ['frame 0', 'update 1', 'frame 1', 'frame 2']);
});

test('answers that come again are passed over', () => {
  push(2);
  painted(0);
  lose();
  hear({ ...RESUMED, last_index: 1, pending: [1] });
  seq = 0;
  painted(0);
  painted(1);
  assert.deepEqual(outcome(), ['painted 0', 'painted 1']);
});

test('a frame that nobody has is told in its turn', () => {
  hear({ type: 'credit', frames: 8 });
  push(4);
  said();
  lose();
  hear({ ...RESUMED, credit: 8, last_index: 2, pending: [0, 2] });
  assert.deepEqual(types(), ['resume', 'frame 3']);
  assert.deepEqual(outcome(), []);
  for (const index of [0, 2, 3]) painted(index);
  assert.deepEqual(outcome(), ['painted 0', 'dropped 1', 'painted 2', 'painted 3']);
  assert.deepEqual(conversation.drops, [{ index: 1, pts: 0, stage: 'connection', reason: 'lost' }]);
});

test('in live, nothing is sent again, and what is lost is told at once', () => {
  begin('live');
  push(2);
  said();
  lose();
  hear({ ...RESUMED, last_index: 0, pending: [0] });
  assert.deepEqual(types(), ['resume']);
  assert.equal(conversation.dropped['connection: lost'], 1);
});

test('refusals that tell no more than the loss are passed over; no_session is one', () => {
  push(1);
  said();
  refusal({ code: 'no_session', index: 0 });
  conversation.settle();
  assert.deepEqual(types(), ['resume']);
  refusal({ code: 'no_session' });
  conversation.check();
  hear(RESUMED);
  assert.deepEqual(types(), ['frame 0']);
  hear(RESUMED);
  assert.deepEqual(types(), [], 'said twice, nothing is sent twice');
});

test('an unknown token is the end', () => {
  lose();
  refusal({ code: 'unknown_token' });
  assert.throws(() => conversation.check(), { name: 'DaemonGone' });
});

test('`moved` of a connection that we left is not the end', () => {
  lose();
  answer({ type: 'closed', reason: 'moved', totals: {} });
  assert.equal(conversation.over, false);
});

test('close is said again on the new connection', () => {
  conversation.close();
  said();
  lose();
  hear(RESUMED);
  assert.deepEqual(types(), ['resume', 'close']);
  assert.throws(() => push(1), { name: 'DaemonGone' });
});

// Requests

test('the second `updated` tells where it shows', async () => {
  const request = conversation.ask('update', { changes: { look: 'ink' } });
  answer({ type: 'updated', request, epoch: null, shown_at: null });
  const shown = conversation.whenShown(request);
  answer({ type: 'updated', request, epoch: 1, shown_at: 4 });
  const { epoch, shown_at } = await shown;
  assert.deepEqual([epoch, shown_at], [1, 4]);
  assert.equal((await conversation.whenShown(request)).shown_at, 4);
});

test('what is never shown does not wait for ever', async () => {
  const request = conversation.ask('rekey');
  answer({ type: 'updated', request, epoch: null, shown_at: null });
  const shown = conversation.whenShown(request);
  answer({ type: 'closed', reason: 'asked', totals: {} });
  conversation.settle();
  assert.equal(await shown, null);
});

test('a refused request is remembered with its code', () => {
  const request = conversation.ask('update', { changes: { look: 'none' } });
  refusal({ code: 'bad_brief', request, seq: ++seq });
  assert.equal(conversation.requests.refused.get(request).code, 'bad_brief');
  lose();
  said();
  hear(RESUMED);
  assert.deepEqual(types(), [], 'it is not asked again');
});

// The ledger by itself

test('a request that was done is asked again of a daemon that forgot it, but not for ever', () => {
  const ledger = new Ledger();
  for (let request = 1; request <= MAX_REQUESTS + 5; request++) {
    ledger.add({ type: 'update', request }, []);
    ledger.done(request);
  }
  const again = ledger.toSendAgain({ ...RESUMED, last_request: 3 }, { frames: true });
  const expected = Array.from({ length: MAX_REQUESTS }, (_, at) => at + 6);
  assert.deepEqual(again.map(({ message }) => message.request), expected);
});
