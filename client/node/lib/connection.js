/**
 * A connection to a daemon, without sockets and without a clock: parts come in, messages to send go out.
 *
 * The link owns the sockets. It tells what came and when, sends what is in `outbox`, and asks `deadlineMs` when to come
 * again although nothing came. Times are milliseconds of its clock, and `nowMs` is the latest told.
 */

import { pack, toClient } from '../wire.js';
import { Conversation } from './conversation.js';
import { DaemonGone, ProtocolError, UnknownMessage, raisedFor } from './errors.js';
import { Watching } from './watching.js';

// A daemon answers a ping at once, whatever it paints; one that has not for this long is gone.
export const PATIENCE_MS = 10_000;
// After this long without a word the client asks whether the daemon is still there.
const SILENCE_MS = 2_000;
// How long a lost connection may take to come back, however long the session would wait: nobody knows how to go on with
// a film after a minute of nothing.
const LONGEST_WAIT_MS = 60_000;

const CLIENT = 'warpaint node 0.1.0';

/** What is said on one connection, and on those that take its place when it is lost. */
export class Connection {
  /** @type {Uint8Array[][]} */ outbox = [];
  up = false;
  /** Called when there is something to do: by the link, which sets it. */ due = () => {};
  /** By number. @type {Map<number, Conversation | Watching>} */ #conversations = new Map();
  #numbers = 0;
  #sinceMs; // when the connection came or went
  #heardMs; // the last word
  #askedMs; // our last ping
  #wasUp = false;
  /** @type {string | null} */ #broken = null;
  #pings = 0;
  #pongs = 0;
  #asks = 0; // of status
  #answers = 0;
  /** @type {any} */ #status = null;
  /** @type {any} */ #complaint = null;
  /** @type {{wake: () => void, untilMs: number}[]} */ #waiting = [];
  #reconnectMs;

  /**
   * @param {string} address @param {number} nowMs
   * @param {number | null} reconnectMs how long a lost connection may take to come back; 0: a loss is the end of all
   *     sessions; null: as long as the sessions wait in the daemon, at most a minute
   */
  constructor(address, nowMs, reconnectMs = null) {
    this.address = address;
    this.nowMs = this.#sinceMs = this.#heardMs = this.#askedMs = nowMs;
    this.#reconnectMs = reconnectMs;
  }

  // What the link tells

  /** There is a connection, or a new one: what was asked of the old one is asked again. @param {number} nowMs */
  connected(nowMs) {
    this.outbox = [];
    this.nowMs = this.#sinceMs = this.#heardMs = nowMs;
    this.up = this.#wasUp = true;
    if (this.#pongs < this.#pings) this.#send({ type: 'ping', nonce: this.#pings });
    for (let left = this.#asks - this.#answers; left > 0; left--) this.#send({ type: 'status' });
    for (const each of this.#conversations.values()) each.connected();
  }

  /** The connection is gone. What was not sent yet is forgotten: the sessions know what they are owed. */
  lost(nowMs) {
    this.outbox = [];
    this.nowMs = nowMs;
    if (this.up) this.#sinceMs = nowMs;
    this.up = false;
    for (const each of this.#conversations.values()) each.lost(nowMs);
    this.#giveUp();
  }

  /** Takes a message. @param {Uint8Array[]} parts @param {number} nowMs */
  receive(parts, nowMs) {
    this.nowMs = this.#heardMs = nowMs;
    let received;
    try {
      received = toClient(parts);
    } catch (error) {
      if (error instanceof UnknownMessage) return; // of a newer daemon, which may say more
      if (!(error instanceof ProtocolError)) throw error;
      this.#broken = `what answers at ${this.address} is no daemon of this version: ${error.message}`;
      return;
    }
    this.#take(received.message, received.payloads);
  }

  /** Says what is due when all that came has been received, and lets those look who wait. */
  settle() {
    if (this.up) {
      for (const [number, each] of [...this.#conversations]) {
        each.settle();
        if (each.over) this.#conversations.delete(number);
      }
    }
    this.#changed();
  }

  /** Lets time pass: asks a silent daemon for a word, and gives up what has been away for too long. */
  tick(nowMs) {
    this.nowMs = nowMs;
    if (this.up && this.#askedMs <= this.#heardMs && nowMs >= this.#heardMs + SILENCE_MS) {
      this.#askedMs = nowMs;
      this.ping();
    }
    this.#giveUp();
  }

  /** When `tick` is due. After `nowMs`. */
  get deadlineMs() {
    const times = [this.nowMs + SILENCE_MS];
    if (!this.up) times.push(this.#sinceMs + this.#patienceMs);
    else if (this.#askedMs > this.#heardMs) times.push(this.#askedMs + PATIENCE_MS);
    else times.push(this.#heardMs + SILENCE_MS);
    for (const { untilMs } of this.#waiting) times.push(untilMs);
    for (const each of this.#conversations.values()) {
      if (each.awaySince !== null) times.push(each.awaySince + this.#waitMs(each));
    }
    return Math.min(...times.filter((each) => each > this.nowMs));
  }

  // What the caller wants

  /**
   * Resolves when something has come or become of the connection, or time has passed; at `untilMs` at the latest.
   *
   * @param {number} [untilMs] @returns {Promise<void>}
   */
  change(untilMs = Infinity) {
    if (untilMs !== Infinity) this.due(); // the link is to know of it
    return new Promise((resolve) => this.#waiting.push({ wake: () => resolve(), untilMs }));
  }

  /** @throws {DaemonGone} if nothing can be asked of the daemon */
  check() {
    this.checkAlive();
    if (!this.up && this.nowMs >= this.#sinceMs + this.#patienceMs) {
      throw new DaemonGone(`the daemon at ${this.address} has not answered for ${seconds(this.nowMs - this.#sinceMs)}`);
    }
  }

  /** @throws {DaemonGone} if there is a connection, and nobody at its end: no new one will come */
  checkAlive() {
    if (this.#broken !== null) throw new DaemonGone(this.#broken);
    if (this.up && this.#askedMs > this.#heardMs && this.nowMs >= this.#askedMs + PATIENCE_MS) {
      throw new DaemonGone(`the daemon at ${this.address} has not answered for ${seconds(this.nowMs - this.#heardMs)}`);
    }
  }

  /** Sends a ping; its nonce. */
  ping() {
    this.#pings += 1;
    this.#send({ type: 'ping', nonce: this.#pings });
    return this.#pings;
  }

  /** Returns when the daemon has answered a ping. @param {number} timeoutMs @throws {DaemonGone} after timeoutMs */
  async pinged(timeoutMs) {
    const nonce = this.ping();
    const untilMs = this.nowMs + timeoutMs;
    while (this.#pongs < nonce) {
      if (this.#broken !== null) throw new DaemonGone(this.#broken);
      if (this.nowMs >= untilMs) throw new DaemonGone(`no daemon answers at ${this.address}`);
      await this.change(untilMs);
    }
  }

  /** How the daemon does. @returns {Promise<any>} */
  async status() {
    this.#asks += 1;
    const mine = this.#asks;
    this.#send({ type: 'status' });
    while (this.#answers < mine || this.#status === null) {
      this.#checkComplaint();
      this.check();
      await this.change();
    }
    return this.#status;
  }

  /**
   * A session that is open.
   *
   * @param {any} opening the fields of `open`
   * @returns {Promise<Conversation>}
   * @throws {RefusedError | InvalidMessage} with what is allowed
   */
  begin(opening) {
    return this.#begin(Conversation, { client: CLIENT, ...opening, type: 'open' });
  }

  /**
   * A session that is watched.
   *
   * @param {any} asking the fields of `watch`
   * @returns {Promise<Watching>}
   * @throws {RefusedError | InvalidMessage} with what is allowed
   */
  watch(asking) {
    return this.#begin(Watching, { ...asking, type: 'watch' });
  }

  /** Ends what nobody waits for, its frames with it. @param {Conversation | Watching} conversation */
  abandon(conversation) {
    conversation.close({ discard: true });
    if (!conversation.begun) this.#conversations.delete(conversation.opening.session);
  }

  /** Ends all sessions, as far as that can be said. Nothing more will come. @param {string} why */
  end(why) {
    for (const each of [...this.#conversations.values()]) {
      this.abandon(each);
      each.giveUp(why);
    }
    this.#conversations.clear();
    this.#broken = why;
    this.#changed();
  }

  // Inside

  /** A Conversation or a Watching that the daemon has agreed to. Sessions and watchings share their numbers. */
  async #begin(Kind, opening) {
    const message = { ...opening, session: this.#numbers };
    pack(message); // throws for what is no message, also while there is no connection
    this.#numbers += 1;
    const begun = new Kind(message, (parts) => this.#post(parts));
    this.#conversations.set(message.session, begun);
    this.#send(message);
    try {
      while (!begun.begun) {
        begun.check();
        this.check();
        await this.change();
      }
    } finally {
      if (!begun.begun && !begun.over) this.abandon(begun); // nobody waits for it
    }
    return begun;
  }

  #changed() {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { wake } of waiting) wake();
  }

  /** Without a connection nothing is kept here: `connected` says again what matters. */
  #post(parts) {
    if (this.up) this.outbox.push(parts);
    this.due();
  }

  #send(message) {
    this.#post(pack(message));
  }

  #take(message, payloads) {
    if (message.type === 'ping') this.#send({ type: 'pong', nonce: message.nonce });
    else if (message.type === 'pong') this.#pongs = Math.max(this.#pongs, message.nonce);
    else if (message.type === 'status') {
      this.#status = message;
      this.#answers = Math.min(this.#asks, this.#answers + 1);
    } else if (message.session === null) this.#complaint = message;
    else this.#conversations.get(message.session)?.receive(message, payloads, this.nowMs);
  }

  /** Throws for what the daemon refused that belongs to no session: a `status` too many. */
  #checkComplaint() {
    const complaint = this.#complaint;
    if (complaint === null) return;
    this.#complaint = null;
    this.#answers = Math.min(this.#asks, this.#answers + 1);
    throw raisedFor(complaint);
  }

  /** How long the connection may be missing for what belongs to no session. */
  get #patienceMs() {
    return this.#reconnectMs === null || !this.#wasUp ? PATIENCE_MS : this.#reconnectMs;
  }

  /** How long a session may be away. */
  #waitMs(conversation) {
    if (this.#reconnectMs !== null) return this.#reconnectMs;
    return Math.min(LONGEST_WAIT_MS, 1000 * conversation.opened.linger_s);
  }

  #giveUp() {
    for (const [number, each] of [...this.#conversations]) {
      if (each.awaySince === null || this.nowMs < each.awaySince + this.#waitMs(each)) continue;
      const silent = `has not answered for ${seconds(this.nowMs - each.awaySince)}`;
      each.giveUp(`the connection to the daemon at ${this.address} was lost, and it ${silent}`);
      this.#conversations.delete(number);
    }
  }
}

const seconds = (ms) => `${Math.round(ms / 1000)} s`;
