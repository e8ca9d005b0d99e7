/** Shows the newest picture when the screen is next drawn. Nothing queues: an older one that was not drawn is let go. */

/**
 * @typedef {import('./decoder.js').Picture} Picture
 * @typedef {{draw: (picture: Picture) => void}} Surface
 * @typedef {object} Listener what a Presenter tells
 * @property {(picture: Picture, drawn_ms: number) => void} drawn  drawn_ms: as performance.now() has it
 * @property {(picture: Picture) => void} thrown  a newer one came before it was drawn
 */

/** Draws pictures on surfaces. */
export class Presenter {
  /** The picture that is seen, kept to draw it again where a surface changes. @type {Picture | null} */ seen = null;
  #surfaces;
  #listener;
  #next = null;
  #asked = false;

  /** @param {Surface[]} surfaces @param {Listener} listener */
  constructor(surfaces, listener) {
    this.#surfaces = surfaces;
    this.#listener = listener;
  }

  /** @param {Picture} picture */
  show(picture) {
    if (this.#next !== null) {
      this.#next.image.close();
      this.#listener.thrown(this.#next);
    }
    this.#next = picture;
    this.redraw();
  }

  /** Draws what is seen once more, when the screen is next drawn. */
  redraw() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => this.#draw());
  }

  /** Lets go of all pictures; the surfaces keep what is drawn on them. */
  clear() {
    for (const picture of [this.#next, this.seen]) picture?.image.close();
    this.#next = null;
    this.seen = null;
  }

  #draw() {
    this.#asked = false;
    const isNew = this.#next !== null;
    if (isNew) {
      this.seen?.image.close();
      this.seen = this.#next;
      this.#next = null;
    }
    const { seen } = this;
    if (seen === null) return;
    for (const surface of this.#surfaces) surface.draw(seen);
    if (isNew) this.#listener.drawn(seen, performance.now());
  }
}
