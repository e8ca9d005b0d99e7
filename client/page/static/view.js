/** The socket by which one session is watched and steered. A loss is mended by itself, with growing pauses. */

import { socketUrl } from './api.js';
import { asSentence } from './dom.js';
import { parseFrame } from './message.js';
import { Patience } from './patience.js';

/**
 * @typedef {{codec: 'h264' | 'jpeg', pictures: string[], maps: string[], max_width: number}} Wants
 * @typedef {object} Listener what a View tells
 * @property {(watching: any) => void} watching
 * @property {(header: import('./message.js').Header, payload: Uint8Array) => void} frame
 * @property {(message: string) => void} notice
 * @property {(message: string) => void} ended  the session is over; nothing is tried any more
 * @property {(message: string) => void} lost  the connection is; another one is being made
 * @typedef {object} Asker who has asked for something, and is told what became of it
 * @property {() => void} [taken]
 * @property {(index: number) => void} [shown]  index: of the first frame that shows it; never, if it was overtaken
 * @property {(message: string) => void} refused
 */

const LOST = 'The connection was lost before this was taken.';
const NO_CONNECTION = 'There is no connection to a session.';
const MOST_ASKERS = 200;

/** Watches one session at a time. */
export class View {
  /** The session that is watched, or null. @type {string | null} */ session = null;
  #listener;
  #wants;
  #socket = null;
  #request = 0;
  #askers = new Map(); // by request: the newest, as what was overtaken is never shown
  #untaken = new Set();
  #patience = new Patience();

  /** @param {Wants} wants @param {Listener} listener */
  constructor(wants, listener) {
    this.#wants = wants;
    this.#listener = listener;
  }

  /** Whether messages can be sent. */
  get open() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** What is wanted of the session. */
  get wants() {
    return this.#wants;
  }

  /** Watches this session instead of another. @param {string} session */
  watch(session) {
    this.leave();
    this.session = session;
    this.#connect();
  }

  /** Watches nothing. */
  leave() {
    this.session = null;
    this.#patience.stop();
    this.#drop();
  }

  /** Changes what is wanted; says it only where it differs. @param {Partial<Wants>} changes */
  want(changes) {
    const wants = { ...this.#wants, ...changes };
    if (JSON.stringify(wants) === JSON.stringify(this.#wants)) return;
    this.#wants = wants;
    this.#send({ type: 'want', ...wants });
  }

  /** A frame was drawn, or thrown away: there is room for another one. */
  ack(seq) {
    this.#send({ type: 'ack', seq });
  }

  /** The decoder can only go on with a coded keyframe. */
  askKeyframe() {
    this.#send({ type: 'keyframe' });
  }

  /** Changes fields of the Brief. @param {Record<string, any>} changes @param {Asker} asker */
  update(changes, asker) {
    this.#ask({ type: 'update', changes }, asker);
  }

  /** Asks for a new painting. @param {Asker} asker */
  rekey(asker) {
    this.#ask({ type: 'rekey' }, asker);
  }

  /** Stops the film, or lets it go on. @param {boolean} on @param {Asker} asker */
  hold(on, asker) {
    this.#ask({ type: 'hold', on }, asker);
  }

  #ask(message, asker) {
    if (!this.open) {
      asker.refused(NO_CONNECTION);
      return;
    }
    this.#request += 1;
    this.#askers.set(this.#request, asker);
    this.#askers.delete(this.#request - MOST_ASKERS);
    this.#untaken.add(this.#request);
    this.#send({ ...message, request: this.#request });
  }

  #send(message) {
    if (this.open) this.#socket.send(JSON.stringify(message));
  }

  #connect() {
    const socket = new WebSocket(socketUrl('api/view', { session: this.session }));
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    // A socket that was left may still have something to say: nobody listens to it.
    const current = (heard) => (event) => { if (socket === this.#socket) heard(event); };
    socket.addEventListener('open', current(() => this.#opened()));
    socket.addEventListener('message', current(({ data }) => this.#heard(data)));
    socket.addEventListener('close', current(({ reason }) => this.#lost(reason)));
  }

  #opened() {
    this.#send({ type: 'want', ...this.#wants });
  }

  #heard(data) {
    if (typeof data !== 'string') {
      const { header, payload } = parseFrame(data);
      this.#listener.frame(header, payload);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === 'watching') {
      this.#patience.reset();
      this.#listener.watching(message);
    } else if (message.type === 'notice') {
      this.#listener.notice(message.message);
    } else if (message.type === 'closed') {
      this.leave();
      this.#listener.ended(message.message);
    } else {
      this.#answered(message);
    }
  }

  #answered({ type, request, index, message }) {
    const asker = this.#askers.get(request);
    this.#untaken.delete(request);
    if (type === 'updated') asker?.taken?.();
    if (type === 'shown') asker?.shown?.(index);
    if (type === 'refused') asker?.refused(message);
    if (type !== 'updated') this.#askers.delete(request);
  }

  #lost(reason) {
    const { session } = this;
    if (session === null) return;
    this.#drop();
    const pause_ms = this.#patience.again(() => this.#connect());
    const why = asSentence(reason || 'The connection was lost');
    this.#listener.lost(`${why} Trying again in ${(pause_ms / 1000).toFixed(1)} s.`);
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    const untaken = [...this.#untaken].map((request) => this.#askers.get(request));
    this.#request = 0;
    this.#askers.clear();
    this.#untaken.clear();
    for (const asker of untaken) asker?.refused(LOST);
  }
}
