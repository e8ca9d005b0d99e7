/**
 * What can be measured of what is seen. `window.warpaint` is one, for whoever wants to know, benchmarks and tests among
 * them:
 *
 *     warpaint.shown              frames drawn since the page was opened
 *     warpaint.thrown             frames that came, and were overtaken before they were drawn
 *     warpaint.skipped            messages that could not be decoded
 *     warpaint.shown_per_second   of the last two seconds
 *     warpaint.arrival_to_canvas_ms   from a message's arrival to its picture on the canvas: median of the last 100
 *     warpaint.sent_to_canvas_ms  the same from when the server sent it, by both clocks
 *     warpaint.delay_ms           the daemon's, from a frame's arrival to its sending: median of the last 100
 *     warpaint.codec              'h264' or 'jpeg': of the last frame
 *     warpaint.last               the header of the last frame that was drawn
 *     warpaint.session            the session that is watched, or null
 *     warpaint.said               what the status line said, the newest last
 */

const RATE_OVER_MS = 2_000;
const KEPT = 100;

/** @typedef {import('./decoder.js').Picture} Picture */

/** Counts pictures and their times. */
export class Meter {
  shown = 0;
  thrown = 0;
  skipped = 0;
  /** @type {import('./message.js').Header | null} */ last = null;
  /** @type {string | null} */ session = null;
  /** @type {string[]} */ said = [];
  #drawn_ms = [];
  #kept = { arrival: [], sent: [], delay: [] };

  get codec() {
    return this.last?.codec ?? null;
  }

  get shown_per_second() {
    const since = performance.now() - RATE_OVER_MS;
    return (1000 * this.#drawn_ms.filter((each) => each > since).length) / RATE_OVER_MS;
  }

  get arrival_to_canvas_ms() {
    return median(this.#kept.arrival);
  }

  get sent_to_canvas_ms() {
    return median(this.#kept.sent);
  }

  get delay_ms() {
    return median(this.#kept.delay);
  }

  /** A picture was drawn. @param {Picture} picture @returns {number} milliseconds since the server sent it */
  drawn({ header, arrived_ms }, drawn_ms) {
    const sent_to_canvas_ms = Math.max(0, performance.timeOrigin + drawn_ms - header.sent_ms);
    this.shown += 1;
    this.last = header;
    keep(this.#drawn_ms, drawn_ms);
    keep(this.#kept.arrival, drawn_ms - arrived_ms);
    keep(this.#kept.sent, sent_to_canvas_ms);
    keep(this.#kept.delay, header.delay_ms);
    return sent_to_canvas_ms;
  }

  /** The status line says this. */
  says(text) {
    keep(this.said, text);
  }
}

function keep(values, value) {
  values.push(value);
  if (values.length > KEPT) values.shift();
}

function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
}
