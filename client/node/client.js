/**
 * The Node client of Warpaint: connect, open a session, push frames, iterate what is painted.
 *
 *     const client = await connect();
 *     const session = await client.open({ source: { width, height, encoding: 'jpeg' }, brief: { look: 'ink' } });
 *     for await (const { pts, picture } of session.paint(frames)) show(picture);  // frames: of {frame, pts}
 *     await client.close();
 *
 * Frames are bytes in and bytes out, as SPEC.md has them. A connection that is lost comes back by itself, and the
 * sessions go on. `client.watch` looks at a session of somebody else.
 */

import { arrayOf } from './lib/arrays.js';
import { ask, change } from './lib/asking.js';
import { PATIENCE_MS } from './lib/connection.js';
import { DaemonGone, InvalidMessage, raisedFor } from './lib/errors.js';
import { Link, nobodyListens } from './lib/link.js';
import { pictureBytes } from './lib/pixels.js';
import { Watch } from './lib/watch.js';

export * from './lib/errors.js';
export { pictureBytes } from './lib/pixels.js';
export { Watch } from './lib/watch.js';

const SOURCE_DEFAULTS = { encoding: 'raw', pixels: 'bgr24' };

/**
 * @typedef {{frame: Uint8Array, pts: number, controls?: Record<string, Uint8Array>, keyframe?: boolean}} Frame see Session.push
 * @typedef {{request: number, shown: Promise<{epoch: number, shown_at: number} | null>}} Change shown: resolves with the
 *     index of the first frame that shows it; with null if none will
 * @typedef {import('./lib/arrays.js').FrameMap} FrameMap
 * @typedef {object} PaintedFrame
 * @property {number} index that of the frame
 * @property {number} pts that of the frame
 * @property {Uint8Array} picture coded as `result` of the session says
 * @property {Record<string, FrameMap>} maps those that were asked for
 * @property {any} info all keys of the `painted` message
 */

/**
 * A connection to a daemon.
 *
 * @param {string} [address] that the daemon prints, as `ipc:///run/user/1000/warpaint/warpaint.sock`; by default this
 *     user's own daemon
 * @param {object} [options]
 * @param {number} [options.timeout_s] how long the daemon may take to answer
 * @param {number | null} [options.reconnect_s] how long a lost connection may take to come back; 0: a loss is the end
 *     of all sessions; null: as long as the sessions wait in the daemon, at most a minute
 * @param {boolean} [options.may_be_starting] wait for a daemon where nobody listens yet
 * @returns {Promise<Client>}
 * @throws {DaemonGone} where none answers
 */
export async function connect(address, options = {}) {
  const { timeout_s = PATIENCE_MS / 1000, reconnect_s = null, may_be_starting = false } = options;
  const link = new Link(address, reconnect_s === null ? null : 1000 * reconnect_s);
  try {
    if (!may_be_starting && (await nobodyListens(link.address))) {
      throw new DaemonGone(`no daemon answers at ${link.address}`);
    }
    await link.connection.pinged(1000 * timeout_s);
  } catch (error) {
    await link.close();
    throw error;
  }
  return new Client(link);
}

/** A connection to a daemon, and the sessions on it. Made by `connect`. */
export class Client {
  #link;

  /** @param {Link} link */
  constructor(link) {
    this.#link = link;
  }

  /**
   * Opens a session.
   *
   * @param {object} opening the keys of `open` in SPEC.md, but for `session`
   * @param {object} opening.source at least `width` and `height`
   * @param {object} [opening.result] how results come back; what is left out is as in the source
   * @param {object} [opening.brief] what to paint
   * @param {string} [opening.pacing] 'every' or 'live'
   * @returns {Promise<Session>}
   * @throws {RefusedError} with what is allowed
   * @throws {InvalidMessage} for what is no value of the wire
   */
  async open(opening) {
    const source = { ...SOURCE_DEFAULTS, ...opening.source };
    const result = { encoding: source.encoding, pixels: source.pixels, ...opening.result };
    const { connection } = this.#link;
    return new Session(connection, await connection.begin({ ...opening, source, result }));
  }

  /**
   * Watches a session, whoever its client is: what it paints, and by which Brief. See Watch.
   *
   * @param {string} id that of the session in `status`
   * @param {object} [options]
   * @param {string[]} [options.pictures] which to send of 'raw' and 'painted'; by default both
   * @param {string[]} [options.maps] which to send of 'flow', 'confidence', 'hops' and 'holes'; by default none
   * @param {number} [options.window] how many may be on their way at once, 1 to 16; by default 2
   * @returns {Promise<Watch>}
   * @throws {RefusedError} `no_session` if there is none of this id, `unsupported` if the daemon lets nobody watch
   * @throws {InvalidMessage} for what is no value of the wire
   */
  async watch(id, { pictures, maps, window } = {}) {
    const { connection } = this.#link;
    return new Watch(connection, await connection.watch({ id, pictures, maps, window }));
  }

  /** How the daemon does. @returns {Promise<any>} */
  status() {
    return this.#link.connection.status();
  }

  /** Returns when the daemon has answered. @param {number} [timeout_s] @throws {DaemonGone} after timeout_s */
  ping(timeout_s = PATIENCE_MS / 1000) {
    return this.#link.connection.pinged(1000 * timeout_s);
  }

  /** Lets go of the connection; sessions still open end with it. */
  close() {
    return this.#link.close();
  }
}

/** A film being painted. Frames go in by `push`; iterating gives what is painted. Made by `Client.open`. */
export class Session {
  #connection;
  #conversation;
  /** Frames take their turns, so that they keep their order. @type {Promise<unknown>} */ #turn = Promise.resolve();

  /** @param {import('./lib/connection.js').Connection} connection @param {any} conversation */
  constructor(connection, conversation) {
    this.#connection = connection;
    this.#conversation = conversation;
  }

  /** What the daemon said when the session was opened: `token`, `looks`, `width` and `height` of the canvas, ... */
  get opened() {
    return this.#conversation.opened;
  }

  /** How many frames may be unanswered at once. */
  get credit() {
    return this.#conversation.window;
  }

  /** Frames sent and not yet answered. */
  get unanswered() {
    return this.#conversation.unanswered;
  }

  /** The newest frames that were not painted: {index, pts, stage, reason}. */
  get drops() {
    return this.#conversation.drops;
  }

  /** How many frames were not painted, by stage and reason. */
  get dropped() {
    return this.#conversation.dropped;
  }

  /** The newest notices: {code, message}. */
  get notices() {
    return this.#conversation.notices;
  }

  /**
   * The index of a frame that was sent.
   *
   * In pacing `every` it waits until the daemon takes it, and until no more results wait to be taken than the credit:
   * so nothing piles up, as long as something iterates them at the same time. In `live` it never waits: a frame for which
   * there is no credit, or no connection, is dropped at once, and told in `drops`.
   *
   * @param {Uint8Array} frame the payload. It must not be changed before its result has come: should the connection be
   *     lost, it is sent again
   * @param {number} pts in ticks of the source's `time_base`
   * @param {{controls?: Record<string, Uint8Array>, keyframe?: boolean}} [options] controls: images for ControlNets, by kind, raw
   *     bgr24; `still` is the frame as somebody has painted it. keyframe: the frame is to be painted in full
   * @returns {Promise<number>}
   */
  push(frame, pts, { controls = {}, keyframe = false } = {}) {
    const pushed = this.#turn.then(() => this.#push(frame, pts, controls, keyframe));
    this.#turn = pushed.catch(() => {});
    return pushed;
  }

  async #push(frame, pts, controls, keyframe) {
    this.#checkFrame(frame);
    const conversation = this.#conversation;
    const isTaken = () => conversation.maySend && conversation.results.length < conversation.window;
    while (!conversation.live && !isTaken()) {
      conversation.checkOpen();
      await this.#change();
    }
    conversation.check();
    return conversation.frame(pts, frame, controls, keyframe);
  }

  #checkFrame(frame) {
    if (!(frame instanceof Uint8Array)) throw new InvalidMessage('a frame is a Uint8Array or Buffer');
    const { encoding, pixels, width, height, strides } = this.#conversation.opening.source;
    if (encoding !== 'raw') return;
    const bytes = pictureBytes(pixels, width, height, strides);
    if (frame.length !== bytes) {
      throw new InvalidMessage(`a frame of ${width}x${height} in ${pixels} has ${bytes} bytes (got ${frame.length})`);
    }
  }

  /**
   * What is painted, as it comes, until the session is closed. In pacing `every` in order of index; a frame that was
   * not painted is thrown as FrameFailed, and iterating again goes on with the next.
   *
   * @returns {AsyncIterableIterator<PaintedFrame>}
   */
  [Symbol.asyncIterator]() {
    const iterator = {
      next: () => this.#next(),
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  async #next(failed = (error) => { throw error; }) {
    const conversation = this.#conversation;
    for (;;) {
      const result = conversation.results.shift();
      if (result !== undefined) {
        this.#connection.due(); // there is a place again
        if (result.type === 'painted') return { done: false, value: paintedFrame(result) };
        failed(raisedFor(result.message));
        continue;
      }
      if (conversation.endedWell) return { done: true, value: undefined };
      await this.#change();
    }
  }

  /**
   * The painted frames of a whole film: pushes each frame when there is a place for it, and closes the session at the
   * end. A loop that is left early ends the session, with the frames in hand.
   *
   * @param {AsyncIterable<Frame> | Iterable<Frame>} frames
   * @param {{failed?: (error: FrameFailed) => void}} [options] failed: is told of each frame that was not painted;
   *     without it, the first one is thrown
   * @returns {AsyncGenerator<PaintedFrame>}
   */
  async *paint(frames, { failed } = {}) {
    const feeding = this.#feed(frames);
    feeding.catch(() => this.#discard()); // ends the loop below, which then throws what went wrong
    try {
      for (;;) {
        const { done, value } = await this.#next(failed);
        if (done) break;
        yield value;
      }
      await feeding;
    } finally {
      await this.#discard();
    }
  }

  async #feed(frames) {
    for await (const { frame, pts, controls, keyframe } of frames) await this.push(frame, pts, { controls, keyframe });
    await this.close();
  }

  async #discard() {
    if (!this.#conversation.over) await this.close({ discard: true }).catch(() => {}); // it has ended otherwise
  }

  /**
   * Changes some fields of the Brief, from the next frame on. Returns when the daemon has taken it.
   *
   * @param {object} changes
   * @returns {Promise<Change>}
   * @throws {RefusedError} with what is allowed; nothing has changed then
   */
  update(changes) {
    return ask(this.#connection, this.#conversation, 'update', { changes });
  }

  /** Asks for a new keyframe at the next frame. Answered as `update` is. */
  rekey() {
    return ask(this.#connection, this.#conversation, 'rekey');
  }

  /** Stops a live film on its last frame, or lets it go on. @param {boolean} on */
  async hold(on) {
    await ask(this.#connection, this.#conversation, 'hold', { on });
  }

  /** Asks the encoder of a coded result for a keyframe. */
  requestKeyframe() {
    this.#conversation.requestKeyframe();
  }

  /** Returns when every frame pushed so far has been answered. */
  async flush() {
    await this.#turn;
    const conversation = this.#conversation;
    const request = conversation.ask('flush');
    while (!conversation.requests.flushed.has(request)) {
      conversation.requests.check(request);
      await this.#change();
    }
  }

  /**
   * Ends the session when the frames in hand are painted; what became of them. Iterating then ends too.
   *
   * @param {{discard?: boolean}} [options] discard: do not finish the frames in hand
   * @returns {Promise<any>} totals
   */
  async close({ discard = false } = {}) {
    if (!discard) await this.#turn;
    const conversation = this.#conversation;
    if (!conversation.over) conversation.close({ discard });
    while (!conversation.endedWell) await this.#change();
    return conversation.closed.totals;
  }

  #change() {
    return change(this.#connection, this.#conversation);
  }
}

/** @returns {PaintedFrame} */
function paintedFrame({ message, payloads }) {
  const maps = {};
  message.parts.forEach((part, number) => {
    if (part.name !== 'picture') maps[part.name] = arrayOf(part, payloads[number]);
  });
  const picture = payloads[message.parts.findIndex(({ name }) => name === 'picture')];
  return { index: message.index, pts: message.pts, picture, maps, info: message };
}
