/** The large picture: raw and painted side by side, under a divider, one of them alone, or a map. */

import { drawTile, fitted, letterboxed } from './canvas.js';
import { say } from './dom.js';

/**
 * @typedef {'beside' | 'divided' | 'painted' | 'raw'} Mode
 * @typedef {{x: number, y: number, width: number, height: number}} Box pixels of the canvas
 */

/**
 * What there is to choose from, in the order of the keys 1 to 4.
 *
 * @type {{mode: Mode, title: string, pictures: string[]}[]}
 */
export const MODES = [
  { mode: 'beside', title: 'Side by side', pictures: ['raw', 'painted'] },
  { mode: 'divided', title: 'Divider', pictures: ['raw', 'painted'] },
  { mode: 'painted', title: 'Painted', pictures: ['painted'] },
  { mode: 'raw', title: 'Raw', pictures: ['raw'] },
];

// Between two pictures that are side by side, as a share of the canvas.
const GUTTER = 0.006;
// They lie one under the other where they are so much larger then, as on a phone that is held upright.
const MUCH_LARGER = 1.25;

/** Draws on a canvas. A surface of a Presenter. */
export class Stage {
  /** @type {Mode} */ mode = 'divided';
  /** A map that is seen instead of the picture. @type {string | null} */ enlarged = null;
  /** Where the divider is, 0 (all painted) to 1 (all raw). */ share = 0.5;
  /** Width by height of a sample of the picture. */ sampleAspect = 1;
  /** Is called where what is seen lies elsewhere than before. @type {(boxes: Box[]) => void} */ moved = () => {};
  #canvas;
  #context;
  #boxes = '';

  /** @param {HTMLCanvasElement} canvas @param {() => void} redraw */
  constructor(canvas, redraw) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d');
    fitted(canvas, redraw);
  }

  /** The pictures that have to come. */
  get pictures() {
    return MODES.find(({ mode }) => mode === this.mode).pictures;
  }

  /** CSS pixels a pixel of the canvas. */
  get scale() {
    return this.#canvas.clientWidth / Math.max(1, this.#canvas.width);
  }

  /** The widest picture that would be seen in full, pixels. */
  get useful_width() {
    return this.mode === 'beside' && this.enlarged === null ? Math.ceil(this.#canvas.width / 2) : this.#canvas.width;
  }

  /** @param {import('./presenter.js').Seen} seen */
  draw(seen) {
    const { tiles } = seen.header;
    const isMap = this.enlarged !== null && tiles.some(({ name }) => name === this.enlarged);
    const names = isMap ? [this.enlarged] : this.pictures;
    // What was wanted a moment ago may still come: the picture stays until what is wanted now is there.
    if (!names.every((name) => tiles.some((tile) => tile.name === name))) return;
    const context = this.#context;
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    const boxes = this.#layout((tiles[0].width * this.sampleAspect) / tiles[0].height);
    if (!isMap && this.mode === 'divided') {
      drawTile(context, seen, 'painted', boxes[0]);
      this.#clipped(boxes[0], () => drawTile(context, seen, 'raw', boxes[0]));
    } else {
      names.forEach((name, number) => drawTile(context, seen, name, boxes[number]));
    }
    this.#tellMoved(boxes);
  }

  /** Draws nothing any more. */
  clear() {
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  /** @returns {Box[]} of one picture, or of two */
  #layout(aspect) {
    const { width, height } = this.#canvas;
    const whole = { x: 0, y: 0, width, height };
    if (this.mode !== 'beside' || this.enlarged !== null) return [letterboxed(aspect, whole)];
    const gap = Math.round(GUTTER * Math.max(width, height));
    const [half, low] = [(width - gap) / 2, (height - gap) / 2];
    const across = letterboxed(aspect, { ...whole, width: half });
    const down = letterboxed(aspect, { ...whole, height: low });
    if (MUCH_LARGER * across.width >= down.width) {
      const start = Math.round((width - 2 * across.width - gap) / 2);
      return [{ ...across, x: start }, { ...across, x: start + across.width + gap }];
    }
    const start = Math.round((height - 2 * down.height - gap) / 2);
    return [{ ...down, y: start }, { ...down, y: start + down.height + gap }];
  }

  #clipped(box, draw) {
    this.#context.save();
    this.#context.beginPath();
    this.#context.rect(box.x, box.y, Math.round(box.width * this.share), box.height);
    this.#context.clip();
    draw();
    this.#context.restore();
  }

  #tellMoved(boxes) {
    const said = JSON.stringify([boxes, this.mode, this.enlarged]);
    if (said === this.#boxes) return;
    this.#boxes = said;
    this.moved(boxes);
  }
}

/** The words over the picture that say which side is which, laid where the pictures are. */
export class Chips {
  #stage;
  #left;
  #right;

  /** @param {Stage} stage @param {HTMLElement} left @param {HTMLElement} right */
  constructor(stage, left, right) {
    this.#stage = stage;
    this.#left = left;
    this.#right = right;
  }

  /** @param {Box[]} boxes */
  place(boxes) {
    const { mode, enlarged } = this.#stage;
    const two = enlarged === null && (mode === 'beside' || mode === 'divided');
    say(this.#left, enlarged ?? (two ? 'raw' : mode));
    say(this.#right, 'painted');
    this.#left.hidden = false;
    this.#right.hidden = !two;
    const { scale } = this.#stage;
    const [first, last] = [boxes[0], boxes[boxes.length - 1]];
    at(this.#left, first.x * scale, first.y * scale);
    const besides = mode === 'beside';
    at(this.#right, (besides ? last.x : last.x + last.width) * scale, last.y * scale);
    this.#right.classList.toggle('from-right', !besides);
  }

  /** Says nothing. */
  hide() {
    this.#left.hidden = true;
    this.#right.hidden = true;
  }
}

function at(element, x, y) {
  element.style.setProperty('--x', `${x}px`);
  element.style.setProperty('--y', `${y}px`);
}
