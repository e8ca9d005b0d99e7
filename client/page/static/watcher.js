/** A session on the screen: its socket, the decoder and the presenter, put together. */

import { Decoder, decodesH264 } from './decoder.js';
import { asSentence } from './dom.js';
import { Presenter } from './presenter.js';
import { View } from './view.js';

// Whoever asks for a keyframe waits so long before asking again, milliseconds.
const KEYFRAME_AGAIN_MS = 1_000;

/**
 * @typedef {object} Listener what a Watcher tells
 * @property {(watching: any) => void} watching
 * @property {(header: import('./message.js').Header, sent_to_canvas_ms: number) => void} drawn
 * @property {(message: string) => void} notice
 * @property {(message: string) => void} ended  the session is over
 * @property {(message: string) => void} lost  the connection is; another one is being made
 * @property {(message: string) => void} trouble  something does not go as it should, and is helped
 */

/** Shows a session as long as the page is visible: nobody encodes for a page that nobody sees. */
export class Watcher {
  /** The session that is to be seen, or null. @type {string | null} */ session = null;
  /** The socket, to steer by. @type {View} */ view;
  /** @type {Presenter} */ presenter;
  #listener;
  #decoder;
  #meter;
  #keyframe_asked_ms = -Infinity;

  /**
   * @param {import('./presenter.js').Surface[]} surfaces @param {import('./meter.js').Meter} meter
   * @param {Listener} listener
   */
  constructor(surfaces, meter, listener) {
    this.#meter = meter;
    this.#listener = listener;
    this.presenter = new Presenter(surfaces, {
      drawn: (picture, drawn_ms) => this.#drawn(picture, drawn_ms),
      thrown: ({ header }) => { meter.thrown += 1; this.view.ack(header.seq); },
    });
    this.#decoder = new Decoder({
      picture: (picture) => this.presenter.show(picture),
      skipped: (seq) => this.#skipped(seq),
      needsKeyframe: () => this.#needsKeyframe(),
      givesUp: (message) => this.#fallBack(message),
    });
    this.view = new View({ codec: 'jpeg', pictures: ['painted'], maps: [], max_width: 1280 }, {
      watching: (watching) => listener.watching(watching),
      frame: (header, payload) => this.#decoder.decode(header, payload),
      notice: (message) => listener.notice(message),
      ended: (message) => { this.#forget(); listener.ended(message); },
      lost: (message) => { this.#decoder.reset(); listener.lost(message); },
    });
    document.addEventListener('visibilitychange', () => this.#seenOrNot());
    window.addEventListener('pagehide', () => this.view.leave());
    window.addEventListener('pageshow', () => this.#seenOrNot()); // gone back to
  }

  /** Finds out what this browser decodes. To be called before `watch`. */
  async prepare() {
    this.view.want({ codec: (await decodesH264()) ? 'h264' : 'jpeg' });
  }

  /** @param {string} session */
  watch(session) {
    if (session !== this.session) this.presenter.clear();
    this.session = session;
    this.#meter.session = session;
    this.#seenOrNot();
  }

  /** Watches nothing. */
  leave() {
    this.#forget();
    this.view.leave();
  }

  #forget() {
    this.session = null;
    this.#meter.session = null;
    this.#decoder.reset();
  }

  #seenOrNot() {
    if (document.hidden || this.session === null) {
      this.view.leave();
    } else if (this.view.session !== this.session) {
      this.#decoder.reset();
      this.view.watch(this.session);
    }
  }

  #drawn(picture, drawn_ms) {
    this.view.ack(picture.header.seq);
    this.#listener.drawn(picture.header, this.#meter.drawn(picture, drawn_ms));
  }

  #skipped(seq) {
    this.#meter.skipped += 1;
    this.view.ack(seq);
    this.#needsKeyframe();
  }

  #needsKeyframe() {
    const now_ms = performance.now();
    if (now_ms - this.#keyframe_asked_ms < KEYFRAME_AGAIN_MS) return;
    this.#keyframe_asked_ms = now_ms;
    this.view.askKeyframe();
  }

  #fallBack(message) {
    if (this.view.wants.codec === 'jpeg') return;
    this.view.want({ codec: 'jpeg' });
    this.#listener.trouble(`${asSentence(message)} The picture comes as JPEG from here on.`);
  }
}
