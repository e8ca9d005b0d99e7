/** Small plots on a canvas: lines, bars that stand on each other, and a strip. The newest is at the right. */

import { fitted } from './canvas.js';
import { BINS } from './history.js';

// A plot of nothing but zeros has this much room, so that noise does not fill it; in the plot's own unit.
const HEADROOM = 1.15;
const LINE_PX = 1.5;

/** @typedef {{age: number, values: (number | null)[]}} Column values: one for each colour */

/** A canvas with columns, as many as there are bins in a minute. */
export class Plot {
  #canvas;
  #context;
  #least;
  #draw;
  #columns = [];
  #colours = [];

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{kind: 'lines' | 'stack' | 'strip', least: number}} options least: the value that at least fits, so that
   *     noise does not look like a mountain range
   */
  constructor(canvas, { kind, least }) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d');
    this.#least = least;
    this.#draw = { lines: this.#lines, stack: this.#stack, strip: this.#strip }[kind];
    fitted(canvas, () => this.show(this.#columns, this.#colours));
  }

  /** @param {Column[]} columns @param {string[]} colours */
  show(columns, colours) {
    this.#columns = columns;
    this.#colours = colours;
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (columns.length) this.#draw();
  }

  #x(age) {
    return this.#canvas.width * (1 - age / BINS);
  }

  #scale(most) {
    return this.#canvas.height / (HEADROOM * Math.max(this.#least, most));
  }

  #lines() {
    const context = this.#context;
    const { height } = this.#canvas;
    const ratio = window.devicePixelRatio;
    const scale = this.#scale(Math.max(...this.#columns.flatMap(({ values }) => values.map((value) => value ?? 0))));
    this.#colours.forEach((colour, number) => {
      const points = this.#columns
        .filter(({ values }) => values[number] !== null)
        .map(({ age, values }) => [this.#x(age), height - ratio - values[number] * scale]);
      if (points.length === 0) return;
      context.beginPath();
      points.forEach(([x, y]) => context.lineTo(x, y));
      context.strokeStyle = colour;
      context.lineWidth = LINE_PX * ratio;
      context.lineJoin = 'round';
      context.stroke();
      context.lineTo(points.at(-1)[0], height);
      context.lineTo(points[0][0], height);
      context.globalAlpha = 0.14;
      context.fillStyle = colour;
      context.fill();
      context.globalAlpha = 1;
    });
  }

  #stack() {
    const sum = (values) => values.reduce((total, value) => total + (value ?? 0), 0);
    const scale = this.#scale(Math.max(...this.#columns.map(({ values }) => sum(values))));
    this.#filled((value) => value * scale);
  }

  #strip() {
    this.#filled((value, values) => {
      const total = values.reduce((sum, each) => sum + (each ?? 0), 0);
      return total ? (this.#canvas.height * value) / total : 0;
    });
  }

  /** Bars whose parts stand on each other; heightOf gives that of a part, pixels. */
  #filled(heightOf) {
    const context = this.#context;
    for (const { age, values } of this.#columns) {
      const left = Math.round(this.#x(age + 1));
      const width = Math.round(this.#x(age)) - left;
      let top = this.#canvas.height;
      values.forEach((value, number) => {
        const height = heightOf(value ?? 0, values);
        top -= height;
        context.fillStyle = this.#colours[number];
        context.fillRect(left, top, width, height);
      });
    }
  }
}
