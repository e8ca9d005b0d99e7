/** Pauses between attempts that grow, so that nobody is hammered. */

// The first is short, as most losses are over at once; the longest is what somebody would wait who looks, milliseconds.
const FIRST_MS = 250;
const LONGEST_MS = 5_000;
const GROWTH = 1.7;

/** Runs a task again and again until it goes well, each time after a longer pause. */
export class Patience {
  #pause_ms = FIRST_MS;
  #timer = 0;

  /** Runs the task after the next pause; an earlier one that still waits is dropped. @returns {number} the pause, ms */
  again(task) {
    const pause_ms = this.#pause_ms;
    this.#pause_ms = Math.min(LONGEST_MS, pause_ms * GROWTH);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(task, pause_ms);
    return pause_ms;
  }

  /** It went well: the next pause is short again. */
  reset() {
    this.#pause_ms = FIRST_MS;
  }

  /** Nothing is run any more, until the next `again`. */
  stop() {
    clearTimeout(this.#timer);
  }
}
