/**
 * What a value is turned by: a text, a slider with a number, a switch, a choice. A widget has an `element`, a `value`,
 * and `set`, which shows a value without telling of it. It tells of each change, and how long to wait for the next one.
 *
 * @typedef {import('./fields.js').Control} Control
 * @typedef {(rest_ms: number) => void} Changed
 * @typedef {{element: HTMLElement, value: any, set: (value: any) => void}} Widget
 */

import { make } from './dom.js';

// A slider tells when it has stood still so long; a text when nobody has typed for so long, milliseconds.
const SLIDING_MS = 150;
const TYPING_MS = 600;
// Ranges wider than this have no slider: no hand is that steady.
const WIDEST_SLIDER = 1e6;
// Seconds that run to an hour are mostly wanted near nothing: such a slider is finer at its low end.
const CURVED_FROM = 300;
const CURVE = 3;
const CURVED_STEPS = 1000;
const DIGITS = 4;

/** @param {Control} control @param {{id: string, described: string}} ids @param {Changed} changed @returns {Widget} */
export function widgetFor(control, ids, changed) {
  const common = { id: ids.id, 'aria-describedby': ids.described };
  switch (control.kind) {
    case 'number':
    case 'integer':
      return numberWidget(control, common, changed);
    case 'flag':
      return flagWidget(common, changed);
    case 'choice':
      return control.common ? pillsWidget(control, ids, changed) : selectWidget(control, common, changed);
    case 'list':
      return listWidget(control, common, changed);
    default:
      return textWidget(control, common, changed);
  }
}

function textWidget(control, common, changed) {
  const area = make('textarea', { ...common, rows: 2, maxlength: control.max_length, spellcheck: 'false' });
  return textLike(area, changed, (text) => text, (value) => value ?? '');
}

function listWidget(control, common, changed) {
  const input = make('input', {
    ...common, type: 'text', placeholder: 'none', spellcheck: 'false', autocomplete: 'off',
  });
  const read = (text) => text.split(',').map((each) => each.trim()).filter((each) => each !== '');
  return textLike(input, changed, read, (value) => (value ?? []).join(', '));
}

function textLike(element, changed, read, shown) {
  let told = '';
  const now = () => { if (element.value !== told) changed(0); };
  element.addEventListener('input', () => changed(TYPING_MS));
  element.addEventListener('blur', now);
  element.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey || element.tagName === 'INPUT')) now();
  });
  return {
    element,
    get value() {
      told = element.value;
      return read(element.value);
    },
    set(value) {
      const text = shown(value);
      told = text;
      if (element.value !== text) element.value = text;
    },
  };
}

function numberWidget(control, common, changed) {
  const { low, high } = bounds(control);
  const step = control.step ?? (control.kind === 'integer' ? 1 : 0.01);
  const number = make('input', {
    ...common, type: 'number', class: 'number', min: low, max: high, step, inputmode: 'decimal',
  });
  const slides = Number.isFinite(low) && Number.isFinite(high) && high - low <= WIDEST_SLIDER;
  const slider = slides ? sliderFor(control, low, high, step) : null;
  let value = null;
  const shows = () => {
    number.value = value === null ? '' : String(Number(value.toPrecision(control.kind === 'integer' ? 16 : DIGITS)));
    slider?.show(value ?? low);
  };
  number.addEventListener('change', () => {
    const read = number.valueAsNumber;
    if (Number.isFinite(read)) value = control.kind === 'integer' ? Math.round(read) : read;
    shows();
    changed(0);
  });
  slider?.element.addEventListener('input', () => {
    value = slider.read();
    shows();
    changed(SLIDING_MS);
  });
  const element = slides ? make('div', { class: 'slider-row' }, slider.element, number) : number;
  return { element, get value() { return value; }, set(given) { value = given; shows(); } };
}

function bounds(control) {
  return { low: control.min ?? control.exclusive_min ?? -Infinity, high: control.max ?? Infinity };
}

/** A range slider over low..high, finer at its low end where that is far. */
function sliderFor(control, low, high, step) {
  const curved = high - low > CURVED_FROM && control.kind === 'number';
  const element = make('input', {
    type: 'range', class: 'range', 'aria-label': control.title,
    min: curved ? 0 : low, max: curved ? CURVED_STEPS : high, step: curved ? 1 : step,
  });
  const show = (value) => {
    const share = (value - low) / (high - low);
    element.value = String(curved ? CURVED_STEPS * share ** (1 / CURVE) : value);
    element.setAttribute('aria-valuetext', String(Number(value.toPrecision(DIGITS))));
    element.style.setProperty('--share', String(curved ? share ** (1 / CURVE) : share));
  };
  const read = () => {
    if (!curved) return element.valueAsNumber;
    const value = low + (high - low) * (element.valueAsNumber / CURVED_STEPS) ** CURVE;
    return Math.max(control.exclusive_min === undefined ? low : low + step, Math.round(value / step) * step);
  };
  return { element, show, read };
}

function flagWidget(common, changed) {
  const element = make('input', {
    ...common, type: 'checkbox', class: 'switch', role: 'switch', on: { change: () => changed(0) },
  });
  return { element, get value() { return element.checked; }, set(value) { element.checked = value === true; } };
}

function selectWidget(control, common, changed) {
  const element = make('select', { ...common, on: { change: () => changed(0) } });
  const option = (each) => make('option', { value: each, text: each });
  const offer = (choices) => element.replaceChildren(...choices.map(option));
  offer(control.choices ?? []);
  const set = (value) => { element.value = value ?? element.options[0]?.value; };
  return { element, offer, get value() { return element.value; }, set };
}

/** Choices as pills, one of them pressed. They are radio buttons. */
function pillsWidget(control, ids, changed) {
  const element = make('div', {
    class: 'pills', role: 'radiogroup', id: ids.id, 'aria-describedby': ids.described, 'aria-label': control.title,
  });
  let chosen = null;
  const offer = (choices) => {
    element.replaceChildren(...choices.map((each) => {
      const choose = () => { chosen = each; changed(0); };
      const radio = make('input', { type: 'radio', name: ids.id, value: each, on: { change: choose } });
      return make('label', { class: 'pill' }, radio, make('span', { text: each }));
    }));
    show();
  };
  const radios = () => [...element.querySelectorAll('input')];
  const show = () => {
    const wanted = chosen ?? radios()[0]?.value;
    for (const radio of radios()) radio.checked = radio.value === wanted;
  };
  offer(control.choices ?? []);
  return { element, offer, get value() { return chosen; }, set(value) { chosen = value; show(); } };
}
