/** What can be said in numbers of the last minute, with small plots: rate, delay, holes, stages, drops, provenance. */

import { themeColours } from './canvas.js';
import { make, say } from './dom.js';
import { History } from './history.js';
import { Plot } from './plots.js';

// Plots move so often: more would cost the picture, milliseconds.
const DRAWN_EVERY_MS = 500;
const BINS_A_SECOND = 2;

const PROVENANCES = ['painted', 'warped', 'filled', 'held'];
const MEANINGS = {
  painted: 'painted: a keyframe, or paint of this very frame',
  warped: 'warped: paint alone, moved along the flow',
  filled: 'filled: holes are filled cheaply until they are painted',
  held: 'held: nothing is painted yet',
};
// As the daemon names them, in the order of a frame's way. What it adds one day has the last colour.
const STAGES = ['wait', 'decode', 'canvas', 'encode_features', 'match', 'compose', 'paint', 'encode'];
const STAGE_COLOURS = STAGES.map((_, number) => `stage-${number}`);

/** Collects what happens, and shows it. */
export class Figures {
  #frames = new History();
  #provenance = new History();
  #drops = new History();
  #cards = {};
  #strip;
  #shares = {};
  #stages = [];
  #received = 0; // frames a second that the daemon is sent
  #before = null;

  /** @param {HTMLElement} root */
  constructor(root) {
    const strip = make('canvas', { class: 'strip', 'aria-hidden': 'true' });
    root.append(make('div', { class: 'provenance' }, strip, this.#legend()));
    const row = make('div', { class: 'cards' });
    root.append(row);
    this.#card(row, 'rate', 'Shown', 'lines', 10, 'Frames a second that are drawn on this page.');
    this.#card(row, 'delay', 'Delay', 'lines', 40,
      'From a frame\'s arrival in the daemon to its sending; and from there to this screen.');
    this.#card(row, 'holes', 'Holes', 'lines', 0.02, 'Share of the picture that no painting explains.');
    this.#card(row, 'stages', 'Stages', 'stack', 20, 'Where the daemon\'s time for a frame goes.');
    this.#card(row, 'drops', 'Dropped', 'stack', 2, 'Frames that were not painted, as they would have been late.');
    this.#strip = new Plot(strip, { kind: 'strip', least: 1 });
    setInterval(() => { if (!document.hidden) this.#show(); }, DRAWN_EVERY_MS);
  }

  /**
   * A frame was drawn.
   *
   * @param {import('./message.js').Header} header @param {number} screen_ms from the server to the screen
   */
  frame(header, screen_ms) {
    const now_ms = performance.now();
    const stages = Object.fromEntries(Object.entries(header.stages_ms).map(([name, ms]) => [`stage ${name}`, ms]));
    this.#frames.add({ delay: header.delay_ms, screen: screen_ms, holes: header.holes, ...stages }, now_ms);
    this.#provenance.add({ [header.provenance]: 1 }, now_ms);
  }

  /** What the daemon says of the session now. @param {import('./api.js').SessionStatus} session */
  status({ id, dropped_at, totals }) {
    const now_ms = performance.now();
    const { received } = totals;
    const before = this.#before?.id === id ? this.#before : { dropped_at, received, now_ms: -Infinity };
    this.#before = { id, dropped_at, received, now_ms };
    this.#received = (1000 * (received - before.received)) / (now_ms - before.now_ms);
    const drops = {};
    for (const [stage, count] of Object.entries(dropped_at)) {
      drops[stage] = Math.max(0, count - (before.dropped_at[stage] ?? 0));
    }
    this.#drops.add(drops, now_ms);
  }

  /** Another session is seen. */
  begin() {
    this.#received = 0;
    for (const history of [this.#frames, this.#provenance, this.#drops]) history.clear();
  }

  #card(row, name, title, kind, least, hint) {
    const canvas = make('canvas', { class: 'spark', 'aria-hidden': 'true' });
    const value = make('span', { class: 'value', text: '–' });
    const detail = make('span', { class: 'detail', text: '\u00a0' });
    const head = make('div', { class: 'card-head' }, make('h2', { text: title }), value);
    row.append(make('article', { class: `card ${name}`, title: hint }, head, canvas, detail));
    this.#cards[name] = { plot: new Plot(canvas, { kind, least }), value, detail };
  }

  #legend() {
    return make('ul', { class: 'key' }, ...PROVENANCES.map((name) => {
      const share = make('span', { class: 'share', text: '–' });
      this.#shares[name] = share;
      return make('li', { title: MEANINGS[name] }, make('i', { class: `swatch ${name}` }), name, share);
    }));
  }

  #show() {
    const now_ms = performance.now();
    const bins = this.#frames.bins(now_ms);
    this.#showRate(bins);
    const [delay, screen] = themeColours('series-1', 'series-2');
    this.#lines('delay', bins, ['delay', 'screen'], [delay, screen]);
    const [delay_ms, screen_ms] = ['delay', 'screen'].map((name) => this.#frames.mean(name, now_ms));
    this.#say('delay', delay_ms === null ? '–' : `${delay_ms.toFixed(0)} ms`,
      screen_ms === null ? '' : `+ ${screen_ms.toFixed(0)} ms to the screen`);
    this.#lines('holes', bins, ['holes'], themeColours('series-3'));
    const holes = this.#frames.mean('holes', now_ms);
    this.#say('holes', holes === null ? '–' : `${(100 * holes).toFixed(holes < 0.1 ? 1 : 0)} %`,
      holes === null ? '' : 'of the picture');
    this.#showStages(bins, now_ms);
    this.#showDrops(now_ms);
    this.#showProvenance(now_ms);
  }

  #showRate(bins) {
    const whole = bins.filter(({ age }) => age > 0);
    const columns = whole.map(({ age, count }) => ({ age, values: [count * BINS_A_SECOND] }));
    this.#cards.rate.plot.show(columns, themeColours('series-1'));
    const last = whole.filter(({ age }) => age <= 2 * BINS_A_SECOND);
    const shown = last.reduce((sum, { count }) => sum + count, 0) / 2;
    this.#say('rate', bins.length === 0 ? '–' : `${shown.toFixed(0)} fps`,
      this.#received ? `of ${this.#received.toFixed(0)} that come` : '');
  }

  #lines(card, bins, names, colours) {
    const means = ({ count, sums }) => names.map((name) => (sums[name] ?? 0) / count);
    const columns = bins.map((bin) => ({ age: bin.age, values: means(bin) }));
    this.#cards[card].plot.show(columns, colours);
  }

  #showStages(bins, now_ms) {
    const totals = this.#frames.totals(now_ms);
    const seen = Object.keys(totals).filter((name) => name.startsWith('stage ')).map((name) => name.slice(6));
    this.#stages = [...STAGES.filter((name) => seen.includes(name)), ...seen.filter((name) => !STAGES.includes(name))];
    const colours = themeColours(...this.#stages.map((name) => STAGE_COLOURS[STAGES.indexOf(name)] ?? 'stage-7'));
    this.#lines('stages', bins, this.#stages.map((name) => `stage ${name}`), colours);
    const means = this.#stages.map((name) => [name, this.#frames.mean(`stage ${name}`, now_ms) ?? 0]);
    const sum = means.reduce((total, [, ms]) => total + ms, 0);
    const { detail } = this.#cards.stages;
    say(this.#cards.stages.value, means.length ? `${sum.toFixed(0)} ms` : '–');
    showKey(detail, means.map(([name, ms], number) => ({ name: name.replace('_', ' '), ms, colour: colours[number] })));
  }

  #showDrops(now_ms) {
    const totals = this.#drops.totals(now_ms);
    const stages = Object.keys(totals);
    const colours = themeColours(...stages.map((_, number) => `series-${1 + (number % 3)}`));
    this.#cards.drops.plot.show(summed(this.#drops.bins(now_ms), stages), colours);
    const sum = Object.values(totals).reduce((total, count) => total + count, 0);
    const parts = stages.filter((name) => totals[name] > 0).map((name) => `${name} ${totals[name]}`);
    this.#say('drops', String(sum), parts.length ? parts.join(', ') : 'in the last minute');
  }

  #showProvenance(now_ms) {
    this.#strip.show(summed(this.#provenance.bins(now_ms), PROVENANCES), themeColours(...PROVENANCES));
    const totals = this.#provenance.totals(now_ms);
    const sum = Object.values(totals).reduce((total, count) => total + count, 0);
    for (const name of PROVENANCES) {
      say(this.#shares[name], sum ? `${Math.round((100 * (totals[name] ?? 0)) / sum)} %` : '–');
    }
  }

  #say(card, value, detail) {
    say(this.#cards[card].value, value);
    say(this.#cards[card].detail, detail || '\u00a0');
  }
}

/** A column for each bin: the sums of these names. */
function summed(bins, names) {
  return bins.map(({ age, sums }) => ({ age, values: names.map((name) => sums[name] ?? 0) }));
}

/** The two longest stages, as there is room for no more, each with its colour. */
function showKey(element, stages) {
  const longest = new Set([...stages].sort((one, other) => other.ms - one.ms).slice(0, 2));
  const shown = stages.filter((each) => longest.has(each));
  const parts = shown.map(({ name, ms, colour }) => {
    const swatch = make('i', { class: 'swatch' });
    swatch.style.background = colour;
    return make('span', { class: 'part' }, swatch, `${name} ${ms.toFixed(0)}`);
  });
  element.replaceChildren(...(parts.length ? parts : ['\u00a0']));
}
