/** The whole page: which session is seen, and what is told to whom. */

import { ApiError, getControls, getStatus } from './api.js';
import { steady } from './bare.js';
import { Controls } from './controls.js';
import { Divider } from './divider.js';
import { asSentence, byId, make, say } from './dom.js';
import { Emptiness } from './emptiness.js';
import { Figures } from './figures.js';
import { listenToKeys } from './help.js';
import { fillLinks } from './links.js';
import { Maps } from './maps.js';
import { Sessions, nameOf, toBeSeen } from './sessions.js';
import { Sources } from './sources.js';
import { Chips, MODES, Stage } from './stage.js';
import { StatusLine } from './statusline.js';
import { Verbs } from './verbs.js';
import { Watcher } from './watcher.js';

// So often it is asked what there is; less and less often where nobody answers.
const LOOK_EVERY_MS = 1_000;
const LONGEST_PAUSE_MS = 5_000;
const GROWTH = 1.5;

/** @param {import('./meter.js').Meter} meter @param {URLSearchParams} query */
export async function startStudio(meter, query) {
  await new Studio(meter, query.get('session')).start();
}

class Studio {
  #meter;
  /** The session that the user wants to see; null: the newest. */ #chosen;
  #watching = null;
  #isDrawn = false; // whether a frame of it was
  #status = null;
  #looks = new Map(); // by painter, as far as sessions have told
  #pause_ms = LOOK_EVERY_MS;
  #line;
  #stage;
  #chips;
  #divider;
  #maps;
  #figures = new Figures(byId('figures'));
  #emptiness = new Emptiness();
  #sessions;
  #watcher;
  #controls;
  #verbs;
  #sources;

  constructor(meter, chosen) {
    this.#meter = meter;
    this.#chosen = chosen;
    this.#line = new StatusLine(byId('lamp'), byId('line'), meter);
    this.#stage = new Stage(byId('picture'), () => this.#redraw());
    this.#chips = new Chips(this.#stage, byId('left-label'), byId('right-label'));
    this.#maps = new Maps(byId('map-toggles'), byId('maps'), this.#stage, () => this.#seesOtherwise());
    this.#watcher = new Watcher([this.#stage, this.#maps], meter, this.#listener());
    this.#divider = new Divider(byId('divider'), (share) => { this.#stage.share = share; this.#redraw(); });
    this.#stage.moved = (boxes) => this.#moved(boxes);
    this.#sessions = new Sessions(byId('sessions'), (id) => this.#choose(id));
    this.#controls = new Controls(byId('controls'), this.#watcher.view);
    this.#verbs = new Verbs(this.#watcher, this.#stage, this.#line);
    this.#sources = new Sources({
      opened: (id) => this.#choose(id),
      says: (message) => this.#line.passing(message),
      engines: () => this.#status?.engines ?? [],
      looks: (painter) => this.#looks.get(painter) ?? [],
    });
  }

  async start() {
    this.#listenToErrors();
    this.#makeModes();
    fillLinks();
    this.#listenToKeys();
    await this.#watcher.prepare();
    this.#seesOtherwise();
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.#look(); });
    const again = () => {
      const looked = document.hidden ? Promise.resolve() : this.#look();
      looked.finally(() => setTimeout(again, this.#pause_ms));
    };
    again();
  }

  /** What is wrong in the page itself is not in the console alone. */
  #listenToErrors() {
    const tell = (error) => this.#line.passing(`Something is wrong in this page: ${asSentence(String(error))}`);
    window.addEventListener('error', ({ message }) => tell(message));
    window.addEventListener('unhandledrejection', ({ reason }) => tell(reason));
  }

  #listener() {
    return {
      watching: (watching) => this.#watched(watching),
      drawn: (header, sent_to_canvas_ms) => {
        this.#isDrawn = true;
        this.#emptiness.hide();
        this.#figures.frame(header, sent_to_canvas_ms);
      },
      notice: (message) => this.#line.passing(asSentence(message)),
      trouble: (message) => this.#line.passing(message),
      lost: (message) => { this.#line.stands('waiting', message); },
      ended: (message) => {
        this.#unwatched();
        this.#emptiness.waiting(asSentence(message));
        this.#line.passing(asSentence(message));
      },
    };
  }

  // What is there

  async #look() {
    try {
      this.#status = await getStatus();
      if (!this.#controls.built) this.#controls.build(await getControls());
      this.#pause_ms = LOOK_EVERY_MS;
      this.#told(this.#status);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#gone(error.message);
      this.#emptiness.noServer(asSentence(error.message));
    }
  }

  #told({ server, problem, sessions }) {
    say(byId('server'), server ?? '');
    if (problem !== null) {
      this.#gone(problem);
      this.#emptiness.noDaemon(asSentence(problem));
      return;
    }
    const seen = toBeSeen(sessions, this.#chosen);
    if (seen?.id !== this.#watcher.session) this.#see(seen);
    else if (seen !== null && !this.#isDrawn) this.#emptiness.waiting(`${nameOf(seen.client)} sends nothing so far.`);
    this.#sessions.show(sessions, seen?.id ?? null);
    if (seen === null) {
      this.#emptiness.begin();
      this.#line.stands('waiting', 'Waiting for something to paint.');
      return;
    }
    this.#figures.status(seen);
    if (this.#watcher.view.open && this.#watching !== null) this.#line.stands('good', sentence(this.#watching));
  }

  #gone(problem) {
    this.#pause_ms = Math.min(LONGEST_PAUSE_MS, this.#pause_ms * GROWTH);
    this.#sessions.show([], null);
    this.#watcher.leave();
    this.#unwatched();
    this.#line.stands('bad', asSentence(problem));
  }

  #choose(id) {
    this.#chosen = id;
    this.#look();
  }

  #see(session) {
    this.#unwatched();
    if (session === null) this.#watcher.leave();
    else this.#watcher.watch(session.id);
  }

  #watched(watching) {
    const { id, client, painter, looks, sample_aspect: [across, down] } = watching;
    if (this.#watching?.id !== id) this.#figures.begin();
    this.#watching = watching;
    this.#looks.set(painter, looks);
    this.#stage.sampleAspect = across / down;
    this.#controls.watching(watching);
    this.#verbs.watching(watching);
    this.#line.stands('good', sentence(watching));
    document.title = `${nameOf(client)} · Warpaint`;
    this.#redraw();
  }

  #unwatched() {
    this.#watching = null;
    this.#isDrawn = false;
    this.#watcher.presenter.clear();
    this.#stage.clear();
    this.#chips.hide();
    this.#divider.place(null);
    this.#controls.unwatched();
    this.#verbs.unwatched();
    document.title = 'Warpaint';
  }

  // What is seen

  #redraw() {
    this.#watcher?.presenter.redraw();
  }

  #seesOtherwise() {
    const { pictures, useful_width: useful } = this.#stage;
    this.#watcher.view.want({ pictures, maps: [...this.#maps.on], max_width: steady(useful) });
    this.#redraw();
  }

  #moved(boxes) {
    this.#chips.place(boxes);
    const divided = this.#stage.mode === 'divided' && this.#stage.enlarged === null;
    const [x, y, width, height] = ['x', 'y', 'width', 'height'].map((side) => boxes[0][side] * this.#stage.scale);
    this.#divider.place(divided ? { x, y, width, height } : null);
    this.#seesOtherwise();
  }

  #makeModes() {
    byId('modes').append(...MODES.map(({ mode, title }, number) => {
      const radio = make('input', {
        type: 'radio', name: 'mode', value: mode, checked: mode === this.#stage.mode,
        on: { change: () => this.#setMode(mode) },
      });
      const key = number + 1;
      return make('label', { class: 'segment', title: `${title} (${key})` }, radio, make('span', { text: title }));
    }));
  }

  #setMode(mode) {
    this.#stage.mode = mode;
    for (const radio of byId('modes').querySelectorAll('input')) radio.checked = radio.value === mode;
    this.#seesOtherwise();
  }

  #listenToKeys() {
    const modes = MODES.map(({ mode, title }, number) => ({
      key: String(number + 1), does: title.toLowerCase(), act: () => this.#setMode(mode),
    }));
    listenToKeys([
      ...modes,
      { key: ' ', shown: 'space', does: 'hold the film, or let it go on', act: () => this.#verbs.hold() },
      { key: 'k', does: 'paint a new keyframe', act: () => this.#verbs.rekey() },
      { key: 's', does: 'save a still', act: () => this.#verbs.still() },
      { key: 'f', does: 'full screen', act: () => this.#verbs.full() },
    ]);
  }
}

/** What is seen, in a line. */
function sentence({ client, painter, flow, pacing, width, height, holding }) {
  const what = `${nameOf(client)}: ${width}×${height}, painted by ${painter}, moved by ${flow}, pacing ${pacing}`;
  return holding ? `On hold: ${what}.` : `${what}.`;
}
