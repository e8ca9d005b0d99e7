/** The divider between raw and painted: dragged, or moved by keys as any slider. */

// What an arrow key moves it by, and a page key, percent.
const STEP = 2;
const LEAP = 10;

/** A slider that lies over a box of the picture. */
export class Divider {
  #element;
  #changed;
  #box = { x: 0, y: 0, width: 1, height: 1 };
  #share = 0.5;

  /** @param {HTMLElement} element @param {(share: number) => void} changed */
  constructor(element, changed) {
    this.#element = element;
    this.#changed = changed;
    element.addEventListener('keydown', (event) => this.#key(event));
    element.addEventListener('pointerdown', (event) => this.#grabbed(event));
    element.addEventListener('pointermove', (event) => {
      if (element.hasPointerCapture(event.pointerId)) this.#dragged(event);
    });
    element.addEventListener('dblclick', () => this.move(0.5));
    this.move(0.5);
  }

  /** Shows it over this box, or not at all. @param {import('./stage.js').Box | null} box CSS pixels of its parent */
  place(box) {
    this.#element.hidden = box === null;
    if (box === null) return;
    this.#box = box;
    for (const [name, value] of [['top', box.y], ['height', box.height]]) this.#element.style[name] = `${value}px`;
    this.#show();
  }

  /** @param {number} share 0 to 1 */
  move(share) {
    this.#share = Math.min(1, Math.max(0, share));
    const percent = Math.round(100 * this.#share);
    this.#element.setAttribute('aria-valuenow', String(percent));
    this.#element.setAttribute('aria-valuetext', `${percent} % raw`);
    this.#show();
    this.#changed(this.#share);
  }

  #show() {
    this.#element.style.left = `${this.#box.x + this.#box.width * this.#share}px`;
  }

  #grabbed(event) {
    this.#element.setPointerCapture(event.pointerId);
    this.#dragged(event);
  }

  #dragged(event) {
    const { left } = this.#element.parentElement.getBoundingClientRect();
    this.move((event.clientX - left - this.#box.x) / this.#box.width);
  }

  #key(event) {
    const percent = Math.round(100 * this.#share);
    const moves = {
      ArrowLeft: percent - STEP,
      ArrowDown: percent - STEP,
      ArrowRight: percent + STEP,
      ArrowUp: percent + STEP,
      PageDown: percent - LEAP,
      PageUp: percent + LEAP,
      Home: 0,
      End: 100,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.move(moves[event.key] / 100);
  }
}
