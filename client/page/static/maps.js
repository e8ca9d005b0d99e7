/** The maps that the painting rests on, as small pictures with what their colours mean. */

import { drawTile, fitted, letterboxed } from './canvas.js';
import { make } from './dom.js';

/** @type {{name: string, title: string, legend: string, low: string, high: string}[]} */
export const MAPS = [
  {
    name: 'flow',
    title: 'Flow',
    legend: 'Which way each pixel moves, as on the wheel: full colour is fast, white stands still.',
    low: 'still',
    high: 'fast',
  },
  {
    name: 'confidence',
    title: 'Confidence',
    legend: 'How sure the flow is: light is sure, dark is not, and is painted anew.',
    low: 'unsure',
    high: 'sure',
  },
  {
    name: 'holes',
    title: 'Holes',
    legend: 'What no painting explains, in colour: it is filled at once, and then painted.',
    low: 'explained',
    high: 'hole',
  },
  {
    name: 'hops',
    title: 'Hops',
    legend: 'How often a pixel was resampled since it was painted: white is fresh, dark is old.',
    low: 'fresh',
    high: 'old',
  },
];

/** A row of maps. A surface of a Presenter. */
export class Maps {
  /** The names of those that are on. @type {Set<string>} */ on = new Set();
  #tiles = new Map();
  #toggles = new Map();
  #row;
  #stage;
  #changed;

  /**
   * @param {HTMLElement} toggles @param {HTMLElement} row @param {import('./stage.js').Stage} stage
   * @param {() => void} changed is called when others are on, or one is seen large
   */
  constructor(toggles, row, stage, changed) {
    this.#row = row;
    this.#stage = stage;
    this.#changed = changed;
    toggles.append(make('span', { class: 'caption', text: 'Maps' }));
    for (const map of MAPS) {
      const toggle = make('button', {
        type: 'button', class: 'toggle', text: map.title, title: map.legend, 'aria-pressed': 'false',
        'data-map': map.name, on: { click: () => this.#toggle(map) },
      });
      this.#toggles.set(map.name, toggle);
      toggles.append(toggle);
    }
  }

  /** @param {import('./presenter.js').Seen} seen */
  draw(seen) {
    for (const [name, { canvas, context }] of this.#tiles) {
      const [tile] = seen.header.tiles;
      const area = { x: 0, y: 0, width: canvas.width, height: canvas.height };
      drawTile(context, seen, name, letterboxed((tile.width * this.#stage.sampleAspect) / tile.height, area));
    }
  }

  #toggle(map) {
    if (this.on.delete(map.name)) {
      this.#tiles.get(map.name).figure.remove();
      this.#tiles.delete(map.name);
      if (this.#stage.enlarged === map.name) this.#stage.enlarged = null;
    } else {
      this.on.add(map.name);
      this.#tiles.set(map.name, this.#tile(map));
    }
    this.#toggles.get(map.name).setAttribute('aria-pressed', String(this.on.has(map.name)));
    this.#row.hidden = this.on.size === 0;
    this.#changed();
  }

  #tile(map) {
    const canvas = make('canvas', { class: 'map-picture' });
    const enlarge = make('button', {
      type: 'button', class: 'map-button', title: `${map.title}: see it large`, 'aria-pressed': 'false',
      'aria-label': `See the map of ${map.title.toLowerCase()} large`, on: { click: () => this.#enlarge(map.name) },
    }, canvas);
    const ramp = make('span', { class: `ramp ${map.name}`, 'aria-hidden': 'true' });
    const scale = make('span', { class: 'scale' },
      make('span', { text: map.low }), ramp, make('span', { text: map.high }));
    const caption = make('figcaption', {},
      make('strong', { text: map.title }), scale, make('span', { class: 'legend', text: map.legend }));
    const figure = make('figure', { class: 'map' }, enlarge, caption);
    this.#row.append(figure);
    fitted(canvas, this.#changed);
    return { canvas, context: canvas.getContext('2d'), figure, enlarge };
  }

  #enlarge(name) {
    this.#stage.enlarged = this.#stage.enlarged === name ? null : name;
    for (const [each, { enlarge }] of this.#tiles) {
      enlarge.setAttribute('aria-pressed', String(this.#stage.enlarged === each));
    }
    this.#changed();
  }
}
