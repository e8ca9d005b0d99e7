/**
 * A watching, without sockets: somebody looks at a session, and turns its knobs, without being its client.
 *
 * A session outlives its connection, a watching does not: SPEC.md, "Watching". One that was asked for and not yet
 * answered is asked for again on the next connection.
 */

import { pack } from '../wire.js';
import { fits } from './arrays.js';
import { DaemonGone, raisedFor } from './errors.js';
import { MAX_NOTICES, keep } from './kept.js';
import { MAX_WATCH_WINDOW } from './limits.js';
import { Requests } from './requests.js';

/** @typedef {{message: any, payloads: Uint8Array[], watching: any}} Seen watching: what holds for it, as the daemon said */

/** One watching. Its methods hand what is to be sent to `send`; `receive` takes each message that belongs to it. */
export class Watching {
  /** The latest `watching` of the daemon. @type {any} */ watched = null;
  /** @type {any} */ closed = null;
  /** Of the watching as a whole. @type {any} */ failure = null;
  /** Why it is over without a word of the daemon, in a sentence. @type {string | null} */ ended = null;
  /** @type {any[]} */ notices = [];
  requests = new Requests();
  /** Never away: with the connection it is over. */ awaySince = null;
  #send;
  #closing = false;
  /** Not taken yet, and so not acknowledged: the window bounds them. @type {Seen[]} */ #seen = [];

  /** @param {any} opening the `watch` message @param {(parts: Uint8Array[]) => void} send takes messages, packed */
  constructor(opening, send) {
    this.opening = opening;
    this.#send = send;
  }

  // How it stands

  /** Whether the daemon has agreed to it. */
  get begun() {
    return this.watched !== null;
  }

  /** Whether nothing more will come. */
  get over() {
    return this.closed !== null || this.failure !== null || this.ended !== null;
  }

  /** Whether it ended as somebody asked, here or of the session, so that there is nothing to complain of. */
  get endedWell() {
    return this.closed?.reason === 'asked';
  }

  /** @throws {DaemonGone | RefusedError} if it is over */
  check() {
    if (this.failure !== null) throw raisedFor(this.failure);
    if (this.ended !== null) throw new DaemonGone(this.ended);
    if (this.closed !== null) throw new DaemonGone(`the watching has ended: ${this.closed.reason}`);
  }

  // What the caller wants

  /**
   * The next that is seen, if it has come. It is acknowledged by being taken: who takes slowly is sent less.
   *
   * @returns {Seen | undefined}
   */
  take() {
    const seen = this.#seen.shift();
    if (seen !== undefined && !this.over && !this.#closing) this.#say({ type: 'ack', seq: seen.message.seq });
    return seen;
  }

  /** The number of a request: `update`, `rekey` or `hold`. @param {string} type @param {object} [fields] */
  ask(type, fields = {}) {
    if (this.#closing) throw new DaemonGone('the watching is being closed');
    this.#say({ type, request: this.requests.next, ...fields });
    return this.requests.begin();
  }

  /** The second `updated` of a request, or null: it will not come. @param {number} request @returns {Promise<any>} */
  whenShown(request) {
    return this.requests.whenShown(request, this.over);
  }

  /** Ends the watching; the session goes on. */
  close() {
    if (this.over || this.#closing) return;
    this.#closing = true;
    this.#say({ type: 'close' });
  }

  // What becomes of the connection

  /** The connection is gone, and with it what was agreed on it. */
  lost() {
    if (this.begun) this.giveUp('the connection to the daemon was lost, and the watching ended with it');
  }

  /** There is a connection that does not know the watching yet. */
  connected() {
    if (!this.over) this.#say(this.opening);
  }

  /** Nothing is put off here; those who wait for what will not come are let go. */
  settle() {
    if (this.over) this.requests.end();
  }

  /** Ends the watching on this side. @param {string} why */
  giveUp(why) {
    if (!this.over) this.ended = why;
    this.requests.end();
  }

  // What comes

  /** Takes a message of this watching. @param {any} message @param {Uint8Array[]} payloads */
  receive(message, payloads) {
    if (this.over) return;
    switch (message.type) {
      case 'watching':
        this.watched = message;
        break;
      case 'seen':
        this.#look(message, payloads);
        break;
      case 'updated':
        this.requests.receive(message);
        break;
      case 'notice':
        keep(this.notices, message, MAX_NOTICES);
        break;
      case 'closed':
        this.closed = message;
        break;
      case 'error':
        this.#error(message);
        break;
    }
  }

  #look(message, payloads) {
    if (message.parts.every((part, number) => fits(part, payloads[number]))) {
      keep(this.#seen, { message, payloads, watching: this.watched }, MAX_WATCH_WINDOW);
    } else {
      this.close();
      this.giveUp(`what the daemon sent of frame ${message.index} is not what it says`);
    }
  }

  /** What was refused, or has failed. */
  #error(message) {
    if (this.begun && message.code === 'no_session') {
      // The connection was lost and made again behind our back, or `close` met with the end of the session.
      if (this.#closing) this.closed = { reason: 'asked' };
      else this.giveUp('the daemon does not know the watching any more');
    } else if (message.request !== null) {
      this.requests.receive(message);
    } else {
      this.failure = message;
    }
  }

  #say(message) {
    this.#send(pack({ ...message, session: this.opening.session }));
  }
}
