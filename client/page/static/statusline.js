/** The line at the foot of the page that says how it goes. Errors are said here, not in the console alone. */

import { say } from './dom.js';

// How long a passing word stays before the line says again how it goes, milliseconds.
const PASSES_AFTER_MS = 8_000;

/** A lamp and a line. */
export class StatusLine {
  #lamp;
  #line;
  #meter;
  #standing = '';
  #timer = 0;

  /** @param {HTMLElement} lamp @param {HTMLElement} line @param {import('./meter.js').Meter} meter */
  constructor(lamp, line, meter) {
    this.#lamp = lamp;
    this.#line = line;
    this.#meter = meter;
  }

  /** How it goes, until it goes otherwise. @param {'good' | 'waiting' | 'bad'} state */
  stands(state, text) {
    this.#lamp.dataset.state = state;
    if (text === this.#standing) return;
    this.#standing = text;
    if (this.#timer === 0 || state === 'bad') this.#show(text);
  }

  /** A word on something that has happened. */
  passing(text) {
    clearTimeout(this.#timer);
    this.#show(text);
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#show(this.#standing);
    }, PASSES_AFTER_MS);
  }

  #show(text) {
    if (text === this.#line.textContent) return;
    say(this.#line, text);
    this.#meter.says(text);
  }
}
