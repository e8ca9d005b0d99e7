/** What a session has sent, or is to send once there is a connection, and has no answer to yet. */

import { MAX_REQUESTS } from './limits.js';

/** @typedef {{message: any, parts: Uint8Array[], lost?: boolean, done?: boolean}} Owed parts: as they are sent */

const keyOf = (message) => (message.type === 'frame' ? `frame ${message.index}` : `request ${message.request}`);

/**
 * The messages in the order of sending, each until it is answered. The credit bounds it, and with it what it holds.
 *
 * Of a request, the first answer counts. One that was done is remembered for a while: a daemon that was killed, and
 * went on with what it had written down before, has forgotten it.
 */
export class Ledger {
  /** How many frames are not answered. */
  frames = 0;
  /** @type {Map<string, Owed>} */
  #owed = new Map();

  /** Something is sent. @param {any} message @param {Uint8Array[]} parts */
  add(message, parts) {
    if (message.type === 'frame') this.frames += 1;
    this.#owed.set(keyOf(message), { message, parts });
  }

  /** The frame that is answered now; undefined: it was answered before, or counted as lost. @param {number} index */
  frame(index) {
    const owed = this.#owed.get(`frame ${index}`);
    if (owed === undefined) return undefined;
    this.#owed.delete(`frame ${index}`);
    this.frames -= 1;
    return owed.message;
  }

  /** A request is answered, and nothing will be left of it: it was refused, or is over. @param {number} request */
  request(request) {
    this.#owed.delete(`request ${request}`);
  }

  /** A request is answered, and changes the session. @param {number} request */
  done(request) {
    const owed = this.#owed.get(`request ${request}`);
    if (owed === undefined) return;
    owed.done = true;
    const done = [...this.#owed].filter(([, each]) => each.done);
    for (const [key] of done.slice(0, Math.max(0, done.length - MAX_REQUESTS))) this.#owed.delete(key);
  }

  /**
   * What did not arrive, in its order. Frames that are neither that nor still to be answered are marked as lost.
   *
   * @param {any} resumed what the daemon said
   * @param {{frames: boolean}} options frames: false: those are not sent again, but lost
   * @returns {Owed[]}
   */
  toSendAgain({ last_index, last_request, pending }, { frames }) {
    const stillToCome = new Set(pending);
    return [...this.#owed.values()].filter((owed) => {
      const { type, index, request } = owed.message;
      if (type !== 'frame') return request > (last_request ?? -1);
      const again = frames && index > (last_index ?? -1);
      owed.lost = !again && !stillToCome.has(index);
      return again;
    });
  }

  /**
   * Frames that are lost, no longer owed.
   *
   * @param {{inOrder: boolean}} options inOrder: none while one before it is still to be answered
   * @returns {any[]}
   */
  takeLost({ inOrder }) {
    const lost = [];
    for (const owed of this.#owed.values()) {
      if (owed.message.type !== 'frame') continue;
      if (owed.lost) lost.push(owed.message);
      else if (inOrder) break;
    }
    for (const { index } of lost) this.frame(index);
    return lost;
  }
}
