/**
 * A session's side of the conversation, without sockets: what may be sent, and what that which comes in means.
 *
 * It survives its connection. What was sent and not yet answered is kept in a ledger, so that after a loss it can be
 * sent again, counted as lost, or waited for: SPEC.md, "Coming back".
 */

import { pack } from '../wire.js';
import { DaemonGone, RefusedError, raisedFor } from './errors.js';
import { MAX_DROPS, MAX_NOTICES, keep } from './kept.js';
import { Ledger } from './ledger.js';
import { Requests } from './requests.js';

/**
 * @typedef {{type: 'painted', message: any, payloads: Uint8Array[]} | {type: 'dropped' | 'error', message: any}} Result
 * @typedef {{index: number, pts: number, stage: string, reason: string}} Drop a frame that was not painted. stage: one
 *     of the daemon's, `failed` (there, by an error), `client` (before it was sent) or `connection` (with it)
 */

/** One session. Its methods hand what is to be sent to `send`; `receive` takes each message that belongs to it. */
export class Conversation {
  /** @type {any} */ opened = null;
  /** @type {any} */ closed = null;
  /** Of the session as a whole. @type {any} */ failure = null;
  /** Why it is over without a word of the daemon, in a sentence. @type {string | null} */ ended = null;
  window = 0;
  /** In the order in which they came; the caller takes them. @type {Result[]} */ results = [];
  requests = new Requests();
  /** @type {Drop[]} */ drops = [];
  /** By stage and reason, `client: lost`. @type {Record<string, number>} */ dropped = {};
  /** @type {any[]} */ notices = [];
  /** When the connection was lost, ms; null: it stands. @type {number | null} */ awaySince = null;
  #ledger = new Ledger();
  #send;
  #nextIndex = 0;
  #closing = null;
  #resumeDue = false;
  #seq = 0; // of the last answer that was received
  #acked = 0;

  /** @param {any} opening the `open` message @param {(parts: Uint8Array[]) => void} send takes messages, packed */
  constructor(opening, send) {
    this.opening = opening;
    this.#send = send;
  }

  // How it stands

  get live() {
    return this.opening.pacing === 'live';
  }

  /** Whether the daemon has opened it. */
  get begun() {
    return this.opened !== null;
  }

  /** Whether nothing more will come. */
  get over() {
    return this.closed !== null || this.failure !== null || this.ended !== null;
  }

  /** Whether it ended as the caller asked, so that there is nothing to complain of. */
  get endedWell() {
    return this.closed?.reason === 'asked';
  }

  /** Whether what is sent now reaches the session. */
  get online() {
    return this.opened !== null && this.awaySince === null && !this.over;
  }

  /** Frames sent and not yet answered. */
  get unanswered() {
    return this.#ledger.frames;
  }

  /** Whether the daemon takes another frame now. */
  get maySend() {
    return this.unanswered < this.window;
  }

  /** @throws {DaemonGone | RefusedError} if the session is over */
  check() {
    if (this.failure !== null) throw raisedFor(this.failure);
    if (this.ended !== null) throw new DaemonGone(this.ended);
    if (this.closed !== null) throw new DaemonGone(`the session has ended: ${this.closed.reason}`);
  }

  /** @throws {DaemonGone} if `close` was sent: what comes after it is for no session */
  checkOpen() {
    if (this.#closing !== null) throw new DaemonGone('the session is being closed');
  }

  // What the caller wants

  /**
   * The index of a frame that was sent; in `live` also of one that was dropped, for want of credit or connection.
   *
   * @param {number} pts @param {Uint8Array} payload @param {Record<string, Uint8Array>} [controls] by kind
   * @param {boolean} [keyframe] whether it is to be painted in full
   * @throws {RefusedError} in `every` when there is no credit for it
   */
  frame(pts, payload, controls = {}, keyframe = false) {
    this.checkOpen();
    if (!this.live && !this.maySend) {
      throw new RefusedError('window_overrun', `${this.unanswered} frames are unanswered, of ${this.window}`);
    }
    const index = this.#nextIndex;
    const message = { type: 'frame', session: this.opening.session, index, pts, controls: Object.keys(controls), keyframe };
    if (this.live && !this.online) this.#drop(message, 'client', 'lost');
    else if (!this.maySend) this.#drop(message, 'client', 'window_overrun');
    else this.#owe(message, [payload, ...Object.values(controls)]);
    this.#nextIndex += 1;
    return index;
  }

  /** The number of a request: `update`, `rekey`, `hold` or `flush`. @param {string} type @param {object} [fields] */
  ask(type, fields = {}) {
    this.checkOpen();
    this.#owe({ type, session: this.opening.session, request: this.requests.next, ...fields });
    return this.requests.begin();
  }

  /** The second `updated` of a request, or null: it will not come. @param {number} request @returns {Promise<any>} */
  whenShown(request) {
    return this.requests.whenShown(request, this.over);
  }

  /** Asks the encoder for a keyframe. Nothing to be kept: after a loss it makes one anyway. */
  requestKeyframe() {
    this.checkOpen();
    if (this.online) this.#say({ type: 'request_keyframe', session: this.opening.session });
  }

  /** Ends the session; also one that is not open yet. @param {{discard?: boolean}} [options] */
  close({ discard = false } = {}) {
    this.#closing = { type: 'close', session: this.opening.session, discard };
    if (this.online || this.opened === null) this.#say(this.#closing);
  }

  // What becomes of the connection

  /** The connection is gone. @param {number} nowMs */
  lost(nowMs) {
    if (this.opened !== null && this.awaySince === null) this.awaySince = nowMs;
    this.#resumeDue = false;
  }

  /** There is a connection that does not know the session yet. */
  connected() {
    if (this.opened === null && !this.over) this.#say(this.opening);
    this.#resumeDue = this.awaySince !== null && !this.over;
  }

  /** Says what is due after all that came has been received: `resume`, and one `ack` for many answers. */
  settle() {
    const { session } = this.opening;
    if (this.#resumeDue) {
      this.#resumeDue = false;
      this.#acked = this.#seq;
      this.#say({ type: 'resume', session, token: this.opened.token, seq: this.#seq });
    } else if (this.awaySince === null && this.#seq > this.#acked) {
      this.#acked = this.#seq;
      this.#say({ type: 'ack', session, seq: this.#seq });
    }
    if (this.over) this.requests.end();
  }

  /** Ends the session on this side. @param {string} why */
  giveUp(why) {
    if (!this.over) this.ended = why;
    this.requests.end();
  }

  // What comes

  /**
   * Takes a message of this session. An answer that comes again is passed over.
   *
   * @param {any} message @param {Uint8Array[]} payloads @param {number} nowMs
   */
  receive(message, payloads, nowMs) {
    if (message.type === 'watching' || message.type === 'seen') return; // with a `seq` that is not the session's
    const again = message.seq != null && message.seq <= this.#seq;
    this.#seq = Math.max(this.#seq, message.seq ?? 0);
    // A frame is owed or not: its `seq` need not be asked.
    if (message.type === 'painted') this.#answered(message.index, { type: 'painted', message, payloads });
    else if (message.type === 'dropped') this.#answered(message.index, { type: 'dropped', message });
    else if (message.type === 'error') this.#error(message, again, nowMs);
    else if (!again) this.#word(message);
  }

  #word(message) {
    switch (message.type) {
      case 'opened':
        this.opened = message;
        this.window = message.credit;
        break;
      case 'resumed':
        this.#resumed(message);
        break;
      case 'credit':
        this.window = message.frames;
        break;
      case 'updated':
        this.#ledger.done(message.request);
        this.requests.receive(message);
        break;
      case 'flushed':
        this.#ledger.request(message.request);
        this.requests.receive(message);
        break;
      case 'notice':
        keep(this.notices, message, MAX_NOTICES);
        break;
      case 'closed': // `moved` is said to the connection that we have left ourselves
        if (message.reason !== 'moved' || this.awaySince === null) this.closed = message;
        break;
    }
  }

  /** What was refused, or has failed. Refusals of what a lost connection carried are settled by `resumed`. */
  #error(message, again, nowMs) {
    if (message.seq === null && this.#isStale(message, nowMs)) return;
    if (message.index !== null) {
      this.#answered(message.index, { type: 'error', message });
    } else if (message.request !== null) {
      if (again) return;
      this.#ledger.request(message.request);
      this.requests.receive(message);
    } else if (message.code === 'unknown_token') {
      this.giveUp(`the session did not outlive the loss of its connection: ${message.message}`);
    } else {
      this.failure = message;
    }
  }

  /** Whether a refusal tells no more than that the connection was lost, which may be news. */
  #isStale({ index, request, code }, nowMs) {
    const aboutSession = index === null && request === null;
    if (this.opened === null) return aboutSession && code === 'session_exists'; // `open` came twice
    if (this.awaySince !== null) return !aboutSession || ['no_session', 'session_exists'].includes(code);
    if (code === 'no_session' && !(this.#closing && aboutSession)) {
      this.awaySince = nowMs;
      this.#resumeDue = true;
      return true;
    }
    // What came twice: `close` finds the session closing, `resume` finds it here.
    return aboutSession && ['no_session', 'session_exists'].includes(code);
  }

  /** Sends again what did not arrive, in order; what is neither that nor still to come is lost. */
  #resumed(message) {
    if (this.awaySince === null) return; // said twice: nothing may be sent twice
    this.awaySince = null;
    this.window = message.credit;
    for (const { parts } of this.#ledger.toSendAgain(message, { frames: !this.live })) this.#send(parts);
    this.#tellLost();
    if (this.#closing !== null) this.#say(this.#closing);
  }

  /** Reports frames that were lost: in `live` at once, in `every` when all before them are answered. */
  #tellLost() {
    for (const frame of this.#ledger.takeLost({ inOrder: !this.live })) this.#drop(frame, 'connection', 'lost');
  }

  #answered(index, result) {
    const frame = this.#ledger.frame(index);
    if (frame === undefined) return;
    if (result.type === 'painted') this.#painted(result);
    else if (result.type === 'dropped') this.#drop(frame, result.message.stage, result.message.reason);
    else this.#drop(frame, 'failed', result.message.code, result);
    this.#tellLost();
  }

  /** Keeps it for the caller; in `live`, no more than the credit: who does not take them wants the newest. */
  #painted(result) {
    if (this.live && this.results.length >= Math.max(1, this.window)) {
      this.#drop(/** @type {Result} */ (this.results.shift()).message, 'client', 'slow_reader');
    }
    this.results.push(result);
  }

  /** Records it. In `every` it is a result too, so that none is passed over in silence. */
  #drop({ session, index, pts }, stage, reason, error = null) {
    keep(this.drops, { index, pts, stage, reason }, MAX_DROPS);
    const kind = `${stage}: ${reason}`;
    this.dropped[kind] = (this.dropped[kind] ?? 0) + 1;
    if (this.live) return;
    this.results.push(error ?? { type: 'dropped', message: { type: 'dropped', session, index, pts, stage, reason } });
  }

  // Owing

  #say(message) {
    this.#send(pack(message));
  }

  /** Throws for what is no message: then nothing is owed. */
  #owe(message, payloads = []) {
    const parts = pack(message, payloads);
    this.#ledger.add(message, parts);
    if (this.online) this.#send(parts);
  }
}
