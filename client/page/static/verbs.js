/** What is done to the session and its picture by buttons: hold, a new keyframe, a still, the full screen. */

import { getStill } from './api.js';
import { asSentence, byId, make, setAttribute } from './dom.js';
import { nameOf } from './sessions.js';

/** The buttons under the picture. */
export class Verbs {
  #watcher;
  #stage;
  #line;
  #buttons = { hold: byId('hold'), rekey: byId('rekey'), still: byId('still') };
  #holding = false;
  #name = 'session';

  /**
   * @param {import('./watcher.js').Watcher} watcher @param {import('./stage.js').Stage} stage
   * @param {import('./statusline.js').StatusLine} line
   */
  constructor(watcher, stage, line) {
    this.#watcher = watcher;
    this.#stage = stage;
    this.#line = line;
    for (const [name, button] of Object.entries(this.#buttons)) button.addEventListener('click', () => this[name]());
    byId('full').addEventListener('click', () => this.full());
    this.unwatched();
  }

  /** @param {any} watching */
  watching({ holding, client, may_steer: maySteer }) {
    this.#holding = holding;
    this.#name = nameOf(client);
    const { hold, rekey, still } = this.#buttons;
    for (const button of [hold, rekey]) button.disabled = !maySteer;
    still.disabled = false;
    hold.setAttribute('aria-pressed', String(holding));
    hold.querySelector('span').textContent = holding ? 'Go on' : 'Hold';
    hold.querySelector('use').setAttribute('href', `static/icons.svg#${holding ? 'play' : 'pause'}`);
    byId('holding').hidden = !holding;
  }

  /** There is no session. */
  unwatched() {
    for (const button of Object.values(this.#buttons)) button.disabled = true;
    byId('holding').hidden = true;
  }

  hold() {
    const refused = (message) => this.#line.passing(asSentence(message));
    if (!this.#buttons.hold.disabled) this.#watcher.view.hold(!this.#holding, { refused });
  }

  rekey() {
    if (this.#buttons.rekey.disabled) return;
    const began_ms = performance.now();
    this.#watcher.view.rekey({
      taken: () => this.#line.passing('A new keyframe is being painted.'),
      shown: (index) => {
        const seconds = (performance.now() - began_ms) / 1000;
        this.#line.passing(`The new keyframe is shown from frame ${index} on, after ${seconds.toFixed(1)} s.`);
      },
      refused: (message) => this.#line.passing(asSentence(message)),
    });
  }

  /** Saves the painted picture, or the raw one where that is seen alone. */
  async still() {
    const { still } = this.#buttons;
    if (still.disabled) return;
    const picture = this.#stage.mode === 'raw' ? 'raw' : 'painted';
    setAttribute(still, 'aria-busy', 'true');
    try {
      save(await getStill(this.#watcher.session, picture), `${fileName(this.#name)}-${picture}-${timestamp()}.png`);
      this.#line.passing(`The ${picture} picture is saved.`);
    } catch (error) {
      this.#line.passing(`No still was saved. ${asSentence(error.message)}`);
    } finally {
      setAttribute(still, 'aria-busy', false);
    }
  }

  async full() {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else await byId('stage').requestFullscreen();
    } catch {
      this.#line.passing('This browser does not let the page fill the screen.');
    }
  }
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  make('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function fileName(text) {
  return text.replace(/[^\p{L}\p{N}._-]+/gu, '-').replace(/^[-.]+/, '').slice(0, 60) || 'session';
}

/** The local time, as file names have it. */
function timestamp() {
  const now = new Date(Date.now() - 60_000 * new Date().getTimezoneOffset());
  return now.toISOString().slice(0, 19).replaceAll(':', '').replace('T', '-');
}
