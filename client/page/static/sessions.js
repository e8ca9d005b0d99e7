/** The live sessions as tabs, and which of them is seen. */

import { make } from './dom.js';

/** @typedef {import('./api.js').SessionStatus} SessionStatus */

/**
 * Which session is to be seen: the one that the user chose, as long as there is it; else the newest.
 *
 * @param {SessionStatus[]} sessions the longest open first
 * @param {string | null} chosen by the user
 * @returns {SessionStatus | null}
 */
export function toBeSeen(sessions, chosen) {
  return sessions.find(({ id }) => id === chosen) ?? sessions.at(-1) ?? null;
}

// What a client of ours says of itself after the name that it was given.
const PROGRAM = /, warpaint \S+ \S+$/;

/** What a session is called: by its client's name for it, where there is one. @param {string} client */
export function nameOf(client) {
  return client.replace(PROGRAM, '') || 'unnamed';
}

/** Tabs that stay where they are while what they say changes. */
export class Sessions {
  #root;
  #choose;
  #tabs = new Map();

  /** @param {HTMLElement} root @param {(id: string) => void} choose */
  constructor(root, choose) {
    this.#root = root;
    this.#choose = choose;
  }

  /** @param {SessionStatus[]} sessions @param {string | null} seen */
  show(sessions, seen) {
    for (const [id, { element }] of this.#tabs) {
      if (sessions.some((each) => each.id === id)) continue;
      element.remove();
      this.#tabs.delete(id);
    }
    for (const session of sessions) this.#tab(session).show(session, session.id === seen);
    this.#root.classList.toggle('none', sessions.length === 0);
  }

  #tab({ id }) {
    const known = this.#tabs.get(id);
    if (known) return known;
    const tab = new Tab(() => this.#choose(id));
    this.#tabs.set(id, tab);
    this.#root.prepend(tab.element); // the newest first
    return tab;
  }
}

class Tab {
  #name = make('strong');
  #detail = make('span', { class: 'tab-detail' });
  #painted = null;

  constructor(choose) {
    this.element = make('button', { type: 'button', class: 'tab', on: { click: choose } },
      make('i', { class: 'tab-lamp', 'aria-hidden': 'true' }),
      make('span', { class: 'tab-text' }, this.#name, this.#detail));
  }

  /** @param {SessionStatus} session */
  show(session, seen) {
    const { client, painter, width, height, pacing, connected } = session;
    const rate = this.#rate(session);
    const state = connected ? (rate === '0 fps' ? 'quiet' : 'live') : 'its client is away';
    this.#name.textContent = nameOf(client);
    this.#detail.textContent = [painter, `${width}×${height}`, pacing, rate].filter(Boolean).join(' · ');
    this.element.dataset.state = connected ? (rate === '0 fps' ? 'quiet' : 'live') : 'away';
    this.element.title = `${client || 'unnamed'}: ${this.#detail.textContent}, ${state}`;
    if (seen) this.element.setAttribute('aria-current', 'true');
    else this.element.removeAttribute('aria-current');
  }

  /** Frames a second since it was shown last; '' the first time. */
  #rate({ totals }) {
    const before = this.#painted;
    const now_ms = performance.now();
    this.#painted = { count: totals.painted, now_ms };
    if (before === null || now_ms - before.now_ms < 1) return '';
    return `${Math.round((1000 * (totals.painted - before.count)) / (now_ms - before.now_ms))} fps`;
  }
}
