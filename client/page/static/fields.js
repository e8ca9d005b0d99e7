/** One control: its label, what it is turned by, its way back, and what became of the last turn. */

import { icon, make, say } from './dom.js';
import { widgetFor } from './widgets.js';

/**
 * @typedef {object} Control one field of the Brief, as /api/controls tells it
 * @property {string} name @property {string} title @property {string} group
 * @property {'text' | 'number' | 'integer' | 'flag' | 'choice' | 'list'} kind
 * @property {string} description @property {any} default
 * @property {number} [min] @property {number} [max] @property {number} [step]
 * @property {number} [exclusive_min] what it must be above
 * @property {string[]} [choices] @property {number} [max_length] @property {number} [max_items]
 * @property {boolean} common whether it is shown at once
 */

// How long "shown" is said, milliseconds.
const SAID_FOR_MS = 6_000;

/** A control on the page. */
export class Field {
  /** @type {HTMLElement} */ element;
  /** @type {Control} */ control;
  #widget;
  #state;
  #trouble;
  #reset;
  #apply;
  #known; // the value that the session has
  #first = null; // what no choice at all comes to
  #held = false; // a pointer is down on it
  #edited = false; // since it was focused
  #timer = 0;
  #turn = 0; // counts what was sent: older answers are nobody's any more
  #pending = false;
  #said = 0;

  /**
   * @param {Control} control @param {(value: any, asker: import('./view.js').Asker) => void} apply
   */
  constructor(control, apply) {
    this.control = control;
    this.#apply = apply;
    this.#known = control.default;
    const id = `control-${control.name}`;
    const described = `${id}-hint`;
    this.#widget = widgetFor(control, { id, described }, (rest_ms) => this.#turned(rest_ms));
    this.#state = make('span', { class: 'field-state', role: 'status' });
    this.#trouble = make('p', { class: 'field-trouble', role: 'alert', hidden: true });
    this.#reset = make('button', {
      type: 'button', class: 'field-reset', title: 'Back to the default',
      'aria-label': `${control.title}: back to the default`, on: { click: () => this.choose(control.default) },
    }, icon('undo'));
    const attributes = { class: `field ${control.kind}`, 'data-control': control.name, title: control.description };
    this.element = make('div', attributes,
      make('div', { class: 'field-head' },
        captionOf(control, id), this.#state, this.#reset),
      this.#widget.element, this.#trouble,
      make('span', { class: 'away', id: described, text: control.description }));
    this.#listen();
    this.show(control.default);
  }

  /** Whether the user is at it: it is then not moved by others. */
  get touched() {
    const focused = this.element.contains(document.activeElement);
    return this.#held || this.#pending || this.#timer !== 0 || (focused && this.#edited);
  }

  /** Shows what the session has, unless the user is at it. */
  show(value) {
    this.#known = value;
    this.#reset.classList.toggle('needed', !same(value, this.control.default ?? this.#first));
    if (!this.touched) this.#widget.set(value);
  }

  /** Offers other choices. @param {string[]} choices */
  offer(choices) {
    this.#first = choices[0] ?? null;
    this.#widget.offer?.(choices);
  }

  /** Sets a value as if the user had, and applies it. */
  choose(value) {
    this.#widget.set(value);
    this.#send(value);
  }

  /** Adds a button beside the number. @param {HTMLElement} made */
  add(made) {
    const row = make('div', { class: 'number-row' });
    this.#widget.element.replaceWith(row);
    row.append(this.#widget.element, made);
  }

  #listen() {
    this.element.addEventListener('pointerdown', () => { this.#held = true; });
    for (const event of ['pointerup', 'pointercancel']) {
      window.addEventListener(event, () => { this.#held = false; });
    }
    this.element.addEventListener('focusin', () => { this.#edited = false; });
    this.element.addEventListener('keydown', (event) => { if (event.key === 'Escape') this.#back(); });
    this.element.addEventListener('focusout', () => {
      this.#edited = false;
      if (this.#trouble.hidden) this.show(this.#known);
    });
  }

  /** Takes back what was not applied. */
  #back() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#edited = false;
    this.#widget.set(this.#known);
    this.#refused('');
  }

  #turned(rest_ms) {
    this.#edited = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#send(this.#widget.value);
    }, rest_ms);
  }

  #send(value) {
    if (same(value, this.#known) && !this.#pending) {
      this.#refused('');
      return;
    }
    this.#turn += 1;
    const turn = this.#turn;
    const began_ms = performance.now();
    const mine = (told) => (given) => { if (turn === this.#turn) told(given); };
    this.#pending = true;
    this.#refused('');
    this.#says('pending', 'sending…');
    this.#apply(value, {
      taken: mine(() => {
        this.#pending = false;
        this.#says('taken', 'taken');
      }),
      shown: mine((index) => {
        const seconds = (performance.now() - began_ms) / 1000;
        this.#says('shown', `shown at frame ${index}, ${seconds.toFixed(1)} s`);
        this.#said = setTimeout(() => this.#says('', ''), SAID_FOR_MS);
      }),
      refused: mine((message) => {
        this.#pending = false;
        this.#says('refused', 'refused');
        this.#refused(message);
      }),
    });
  }

  #says(state, text) {
    clearTimeout(this.#said);
    this.element.dataset.state = state;
    say(this.#state, text);
  }

  #refused(message) {
    this.#trouble.hidden = message === '';
    say(this.#trouble, message);
    if (message) this.#trouble.scrollIntoView({ block: 'nearest' });
    if (message === '' && this.element.dataset.state === 'refused') this.#says('', '');
  }
}

/** What names a control: a label, where there is one element to label. */
function captionOf({ kind, common, title }, id) {
  const many = kind === 'choice' && common;
  return many ? make('span', { class: 'label', text: title }) : make('label', { class: 'label', for: id, text: title });
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
