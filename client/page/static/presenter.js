/** Shows the newest picture when the screen is next drawn. Nothing queues: an older one is let go undrawn. */

/**
 * @typedef {import('./decoder.js').Picture} Picture
 * @typedef {{header: import('./message.js').Header, sheet: OffscreenCanvas}} Seen  the tiles lie on the sheet
 * @typedef {{draw: (seen: Seen) => void}} Surface
 * @typedef {object} Listener what a Presenter tells
 * @property {(picture: Picture, drawn_ms: number) => void} drawn  drawn_ms: as performance.now() has it
 * @property {(picture: Picture) => void} thrown  a newer one came before it was drawn
 */

/** Draws pictures on surfaces. */
export class Presenter {
  #surfaces;
  #listener;
  #next = null;
  #asked = false;
  // What is seen is kept as pixels: a decoded frame is converted once for all tiles, and given back to its decoder.
  #sheet = new OffscreenCanvas(2, 2);
  #context = this.#sheet.getContext('2d', { alpha: false });
  #header = null;

  /** @param {Surface[]} surfaces @param {Listener} listener */
  constructor(surfaces, listener) {
    this.#surfaces = surfaces;
    this.#listener = listener;
  }

  /** @param {Picture} picture */
  show(picture) {
    this.#throwNext();
    this.#next = picture;
    if (picture.header.tiles.length) this.redraw();
    else this.#throwNext(); // what is wanted was not at hand in the daemon
  }

  /** Draws what is seen once more, when the screen is next drawn. */
  redraw() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => this.#draw());
  }

  /** Forgets all pictures; the surfaces keep what is drawn on them. */
  clear() {
    this.#throwNext();
    this.#header = null;
  }

  #throwNext() {
    const picture = this.#next;
    this.#next = null;
    if (picture === null) return;
    picture.image.close();
    this.#listener.thrown(picture);
  }

  #draw() {
    this.#asked = false;
    const picture = this.#next;
    this.#next = null;
    if (picture !== null) this.#take(picture);
    if (this.#header === null) return;
    const seen = { header: this.#header, sheet: this.#sheet };
    for (const surface of this.#surfaces) surface.draw(seen);
    if (picture !== null) this.#listener.drawn(picture, performance.now());
  }

  #take({ header, image }) {
    const { width, height } = header;
    if (this.#sheet.width !== width || this.#sheet.height !== height) Object.assign(this.#sheet, { width, height });
    this.#context.drawImage(image, 0, 0, width, height);
    image.close();
    this.#header = header;
  }
}
