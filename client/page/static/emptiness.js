/** What is said where there is no picture: how to begin, or what is wrong. */

import { button, byId, copyButton, make } from './dom.js';

const BRIDGE = 'warpaint bridge IN OUT';
const DAEMON = 'warpaintd';
const SERVER = 'warpaint page';

/** The words in place of a picture. */
export class Emptiness {
  #root = byId('empty');
  #said = '';

  /** There is a picture, or there will be one at once. */
  hide() {
    this.#root.hidden = true;
  }

  /** No session: how to begin one. */
  begin() {
    this.#show('begin', 'Nothing is being painted yet',
      make('p', { text: 'Paint your webcam or a video file; a file may be dropped here, too.' }),
      make('div', { class: 'beginnings' },
        begins('camera', 'Use webcam', 'use-webcam'), begins('film', 'Open a file', 'open-file')),
      make('p', { text: 'Or paint a stream of ffmpeg or OBS:' }),
      command(BRIDGE),
      make('p', { class: 'hint', text: 'Whatever is painted live appears here by itself.' }));
  }

  /** There is a session, and no frame of it. @param {string} why a sentence */
  waiting(why) {
    this.#show(why, 'No picture yet', make('p', { text: why }));
  }

  /** No daemon. @param {string} problem a sentence */
  noDaemon(problem) {
    this.#gone('No daemon answers', problem, DAEMON);
  }

  /** Nobody answers this page itself. @param {string} problem a sentence */
  noServer(problem) {
    this.#gone('The server of this page is away', problem, SERVER);
  }

  #gone(title, problem, starts) {
    this.#show(problem, title,
      make('p', { text: problem }), make('p', { text: 'It is started by:' }), command(starts),
      make('p', { class: 'hint', text: 'This page goes on by itself as soon as it is there.' }));
  }

  #show(said, title, ...parts) {
    this.#root.hidden = false;
    if (said === this.#said) return;
    this.#said = said;
    const mark = make('img', { src: 'static/icon.svg', alt: '', class: 'mark' });
    this.#root.replaceChildren(mark, make('h2', { text: title }), ...parts);
  }
}

/** A button that does what one at the top of the page does. */
function begins(name, label, id) {
  return button(label, { icon: name, class: 'button primary', on: { click: () => byId(id).click() } });
}

function command(text) {
  return make('div', { class: 'command' }, make('code', { text }), copyButton(() => text));
}
