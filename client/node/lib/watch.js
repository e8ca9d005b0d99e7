/** A session that is watched, as the caller has it. */

import { arrayOf } from './arrays.js';
import { ask, change } from './asking.js';

/**
 * @typedef {import('./arrays.js').FrameMap} FrameMap
 * @typedef {object} SeenFrame
 * @property {number} index that of the frame
 * @property {number} pts that of the frame
 * @property {Record<string, FrameMap>} pictures `raw` and `painted`, as they were asked for: bgr24, upright
 * @property {Record<string, FrameMap>} maps those that were asked for
 * @property {any} info all keys of the `seen` message
 * @property {any} watching all keys of the `watching` message that holds for it: a new one when the Brief has changed
 */

/** A session that is watched. Iterating gives what is seen. Made by `Client.watch`. */
export class Watch {
  #connection;
  #watching;

  /** @param {import('./connection.js').Connection} connection @param {import('./watching.js').Watching} watching */
  constructor(connection, watching) {
    this.#connection = connection;
    this.#watching = watching;
  }

  /** What the daemon said last of what is watched: `brief`, `looks`, `width` and `height`, `may_steer`, ... */
  get watching() {
    return this.#watching.watched;
  }

  /** The newest notices: {code, message}. */
  get notices() {
    return this.#watching.notices;
  }

  /**
   * What is seen, as it comes, until the watching or the session is closed. A frame is acknowledged when it is taken, so
   * that who is slow sees fewer frames, and never more than `window` old ones. A loop that is left ends nothing.
   *
   * @returns {AsyncIterableIterator<SeenFrame>}
   * @throws {DaemonGone} when the connection is lost, or the session has ended otherwise
   */
  [Symbol.asyncIterator]() {
    const iterator = {
      next: () => this.#next(),
      [Symbol.asyncIterator]: () => iterator,
    };
    return iterator;
  }

  async #next() {
    for (;;) {
      const seen = this.#watching.take();
      if (seen !== undefined) return { done: false, value: seenFrame(seen) };
      if (this.#watching.endedWell) return { done: true, value: undefined };
      await change(this.#connection, this.#watching);
    }
  }

  /**
   * Changes some fields of the session's Brief. Returns when the daemon has taken it.
   *
   * @param {object} changes
   * @returns {Promise<{request: number, shown: Promise<{epoch: number, shown_at: number} | null>}>} shown: resolves with
   *     the index of the first frame that shows it; with null if none will
   * @throws {RefusedError} with what is allowed; nothing has changed then
   */
  update(changes) {
    return ask(this.#connection, this.#watching, 'update', { changes });
  }

  /** Asks for a new keyframe at the next frame. Answered as `update` is. */
  rekey() {
    return ask(this.#connection, this.#watching, 'rekey');
  }

  /** Stops a live film on its last frame, or lets it go on. @param {boolean} on */
  async hold(on) {
    await ask(this.#connection, this.#watching, 'hold', { on });
  }

  /** Ends the watching, and iterating with it; the session goes on. Returns also if it has ended already. */
  async close() {
    this.#watching.close();
    while (!this.#watching.over) await change(this.#connection, this.#watching);
  }
}

/** @returns {SeenFrame} */
function seenFrame({ message, payloads, watching }) {
  const pictures = {};
  const maps = {};
  message.parts.forEach((part, number) => {
    const where = part.name === 'raw' || part.name === 'painted' ? pictures : maps;
    where[part.name] = arrayOf(part, payloads[number]);
  });
  return { index: message.index, pts: message.pts, pictures, maps, info: message, watching };
}
