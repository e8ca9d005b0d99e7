/**
 * The sockets of a connection.
 *
 * That a connection came or went is seen by the socket's events. A lost one gets a new socket. It is not left to the
 * old one, although that would connect anew too: it keeps what was queued for the lost connection, and sends it on the new
 * one, before any `resume`, with a hole where messages were on their way.
 */

import { connect as dial } from 'node:net';
import { performance } from 'node:perf_hooks';

import { Dealer } from 'zeromq';

import { Connection } from './connection.js';
import { DaemonGone } from './errors.js';

// Kernel buffers of a tcp connection, bytes.
const SOCKET_BUFFER = 4 * 1024 * 1024;
// From one attempt to connect to the next, ms: at first a blink, as most losses are a matter of moments; then twice as
// long each time, up to what is no wait beside that for a daemon to start.
const RECONNECT_MS = 50;
const LONGEST_RECONNECT_MS = 200;
// ZeroMQ asks the other end now and then whether it is there, ms: a cable that is pulled tells nobody.
const HEARTBEAT_MS = 2_000;
const HEARTBEAT_TIMEOUT_MS = 5_000;
// How long the last words, which end the sessions, may take when the client closes, ms.
const LAST_WORDS_MS = 1_000;

/** A socket, and how far it is with its work. */
class Line {
  sending = false;
  /** A connection stood here and is lost: nothing is sent on it any more. */ gone = false;
  /** Messages that came. */ came = 0;

  /** @param {string} address */
  constructor(address) {
    this.socket = new Dealer({
      reconnectInterval: RECONNECT_MS,
      reconnectMaxInterval: LONGEST_RECONNECT_MS,
      heartbeatInterval: HEARTBEAT_MS,
      heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
      sendBufferSize: SOCKET_BUFFER,
      receiveBufferSize: SOCKET_BUFFER,
    });
    this.events = this.socket.events; // watched from here on: the connection may come at once
    this.socket.connect(address);
  }

  /** @param {number} lingerMs */
  close(lingerMs) {
    this.gone = true;
    this.socket.linger = lingerMs;
    this.socket.close();
  }
}

/** Owner of the sockets, and of the Connection that they serve. */
export class Link {
  closed = false;
  /** @type {Line} */ #line;
  #turnDue = false;
  /** @type {NodeJS.Timeout | undefined} */ #timer;

  /**
   * @param {string} [address] @param {number | null} [reconnectMs] see Connection
   * @throws {DaemonGone} for what is no address
   */
  constructor(address = defaultAddress(), reconnectMs = null) {
    this.address = address;
    this.connection = new Connection(address, performance.now(), reconnectMs);
    this.connection.due = () => this.#soon();
    try {
      this.#open();
    } catch (error) {
      throw new DaemonGone(`${JSON.stringify(address)} is no address to connect to: ${error.message}`);
    }
    this.#turn();
  }

  /** Ends the sessions, as far as that can still be said, and lets go of the socket. */
  async close() {
    if (this.closed) return;
    this.connection.end('the client is closed');
    const line = this.#line;
    const untilMs = performance.now() + LAST_WORDS_MS;
    const isTalking = () => !line.gone && this.connection.up && (line.sending || this.connection.outbox.length > 0);
    while (isTalking() && performance.now() < untilMs) {
      this.#flush(line);
      await new Promise(setImmediate);
    }
    this.closed = true;
    clearTimeout(this.#timer);
    if (!line.gone) line.close(LAST_WORDS_MS);
  }

  #open() {
    const line = new Line(this.address);
    this.#line = line;
    this.#read(line);
    this.#watch(line);
  }

  /** What is to be done once for all that came and was asked in this turn of the event loop. */
  #soon() {
    if (this.#turnDue || this.closed) return;
    this.#turnDue = true;
    setImmediate(() => this.#turn());
  }

  #turn() {
    this.#turnDue = false;
    if (this.closed) return;
    const { connection } = this;
    connection.tick(performance.now());
    connection.settle();
    this.#flush(this.#line);
    clearTimeout(this.#timer);
    // By way of #soon: if this process was held up, what came meanwhile is taken before time is said to have passed.
    this.#timer = setTimeout(() => this.#soon(), Math.max(1, connection.deadlineMs - performance.now()));
  }

  async #read(line) {
    for (;;) {
      let parts;
      try {
        parts = await line.socket.receive();
      } catch (error) {
        if (line.socket.closed) return;
        throw error;
      }
      line.came += 1;
      this.connection.receive(parts, performance.now());
      this.#soon();
    }
  }

  async #watch(line) {
    for await (const { type } of line.events) {
      if (this.closed || line.gone) return;
      if (type === 'handshake') {
        this.connection.connected(performance.now());
        this.#soon();
      } else if (type === 'disconnect' && this.connection.up) {
        await this.#renew(line);
        return;
      } // one that never came about is ZeroMQ's to try again: it has grown the pause already
    }
  }

  /** A new socket for one whose connection is lost, when all that it brought is taken. */
  async #renew(line) {
    line.gone = true;
    for (let seen = -1; seen !== line.came; ) {
      seen = line.came;
      // Two turns: one in which the socket is seen to be readable, and one for what is put off so that others run.
      for (let turns = 0; turns < 2; turns++) await new Promise(setImmediate);
    }
    if (this.closed) return line.socket.close();
    this.connection.lost(performance.now());
    line.close(0);
    this.#open();
    this.#soon();
  }

  /** Sends what there is to say. A socket takes one message at a time. */
  async #flush(line) {
    if (line.sending || line.gone) return;
    line.sending = true;
    try {
      while (!line.gone && this.connection.up) {
        const parts = this.connection.outbox.shift();
        if (parts === undefined) break;
        await line.socket.send(parts);
      }
    } catch (error) {
      if (!line.socket.closed) throw error; // a closed one has said what it could
    } finally {
      line.sending = false;
    }
  }
}

/** The address of this user's own daemon: a socket in the user's runtime folder. */
export function defaultAddress() {
  const runtime = process.env.XDG_RUNTIME_DIR;
  return `ipc://${runtime ? `${runtime}/warpaint` : `/tmp/warpaint-${process.getuid?.()}`}/warpaint.sock`;
}

/**
 * Whether it is known at once that there is no daemon: ZeroMQ would try a missing socket again and again.
 *
 * @param {string} address @returns {Promise<boolean>}
 */
export function nobodyListens(address) {
  if (!address.startsWith('ipc:///')) return Promise.resolve(false);
  return new Promise((resolve) => {
    const probe = dial(address.slice('ipc://'.length));
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error) => resolve(['ENOENT', 'ECONNREFUSED'].includes(/** @type {any} */ (error).code)));
  });
}
