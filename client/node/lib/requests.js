/** The requests of a session, or of a watching: their numbers, and what the daemon has said of each. */

import { raisedFor } from './errors.js';

// Requests whose answers are remembered, the newest: as many as the daemon answers a second time.
const MAX_REMEMBERED = 1_000;

export class Requests {
  /** By request. @type {Map<number, any>} */ refused = new Map();
  /** By request: the latest word on it. @type {Map<number, any>} */ updated = new Map();
  /** @type {Set<number>} */ flushed = new Set();
  #latest = 0;
  /** By request: who waits for the frame that shows it. @type {Map<number, (word: any) => void>} */
  #waiting = new Map();

  /** The number of the one that is made next. */
  get next() {
    return this.#latest + 1;
  }

  /** The next one is made. One of long ago is forgotten. @returns {number} its number */
  begin() {
    this.#latest += 1;
    this.#forget(this.#latest - MAX_REMEMBERED);
    return this.#latest;
  }

  /** Takes an answer. @param {any} message `updated`, `flushed`, or an `error` with the request */
  receive(message) {
    const { type, request } = message;
    if (type === 'flushed') {
      this.flushed.add(request);
    } else if (type === 'error') {
      this.refused.set(request, message);
      this.#wake(request, null);
    } else {
      this.updated.set(request, message);
      if (message.shown_at !== null) this.#wake(request, message);
    }
  }

  /** @param {number} request @throws {RefusedError} if it was refused */
  check(request) {
    const refused = this.refused.get(request);
    if (refused !== undefined) throw raisedFor(refused);
  }

  /**
   * The second `updated` of a request, or null: it will not come.
   *
   * @param {number} request @param {boolean} over whether nothing more will come at all
   * @returns {Promise<any>}
   */
  whenShown(request, over) {
    const word = this.updated.get(request);
    if (word?.shown_at != null || over) return Promise.resolve(word?.shown_at == null ? null : word);
    return new Promise((resolve) => this.#waiting.set(request, resolve));
  }

  /** Nothing more will come: lets go of those who wait. */
  end() {
    for (const request of [...this.#waiting.keys()]) this.#wake(request, null);
  }

  #forget(request) {
    this.refused.delete(request);
    this.updated.delete(request);
    this.flushed.delete(request);
    this.#wake(request, null);
  }

  #wake(request, word) {
    this.#waiting.get(request)?.(word);
    this.#waiting.delete(request);
  }
}
