/** What is said where there is no picture: how to begin, or what is wrong. */

import { button, byId, copyButton, make } from './dom.js';

const BRIDGE = 'warpaint bridge IN OUT';
const DAEMON = 'warpaintd';

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

  /** No daemon, or no server. @param {string} problem a sentence */
  problem(problem) {
    this.#show(problem, 'No daemon answers',
      make('p', { text: problem }), make('p', { text: 'It is started by:' }), command(DAEMON),
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
