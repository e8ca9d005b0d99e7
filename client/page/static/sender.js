/** A video of this browser as a live session: its frames, coded, go to the daemon as long as there is credit. */

import { socketUrl } from './api.js';
import { coderFor } from './coder.js';
import { Frames } from './frames.js';

// More is not painted anyway, and would only be coded and sent.
const WIDEST = 1280;
const HIGHEST = 720;
// What the socket may hold that is not yet sent, bytes: more, and the pictures would be old when they come.
const MOST_UNSENT = 2_000_000;
const TIMESTAMP_BYTES = 8;
// A daemon that cannot paint so much in time says how many pixels would do. It is believed, with some room, once; what
// is smaller than this nobody wants to see, and it is rather asked for as many frames as there is time for.
const WOULD_FIT = /max_pixels (\d+)/;
const ROOM = 0.9;
const LEAST_PIXELS = 480 * 270;

/**
 * @typedef {object} Opening what is opened
 * @property {string} name @property {number | null} rate frames a second, if known
 * @property {string | null} painter @property {string | null} flow @property {Record<string, any>} brief
 * @typedef {object} Listener what a Sender tells
 * @property {(id: string) => void} opened
 * @property {(message: string) => void} says  what has changed, in a sentence
 * @property {(message: string) => void} ended  why, in a sentence; '' where it was asked to
 */

/** Sends what a video element plays. */
export class Sender {
  sent = 0;
  /** Frames that were left out, as the daemon had not answered those before. */ left_out = 0;
  #video;
  #opening;
  #listener;
  #socket;
  #coder = null;
  #frames = null;
  #canvas;
  #context;
  #credit = 0;
  #answered = 0;
  #began_ms = 0;
  #over = false;
  #isSmaller = false;

  /** @param {HTMLVideoElement} video that plays @param {Opening} opening @param {Listener} listener */
  constructor(video, opening, listener) {
    this.#video = video;
    this.#opening = opening;
    this.#listener = listener;
    this.#resize(Infinity);
  }

  /** How the pictures are coded, once that is known. */
  get codec() {
    return this.#coder?.codec ?? null;
  }

  /** Opens the session. */
  async start() {
    const { width, height } = this.#canvas;
    const { rate } = this.#opening;
    const coded = (timestamp_ms, data) => this.#send(timestamp_ms, data);
    this.#coder = await coderFor({ width, height, rate }, coded, (message) => this.#end(message));
    if (this.#over) return;
    const socket = new WebSocket(socketUrl('api/source'));
    this.#socket = socket;
    // One that was refused closes: it is not listened to any more, where a smaller picture is tried.
    const current = (heard) => (event) => { if (socket === this.#socket) heard(event); };
    socket.addEventListener('open', current(() => {
      socket.send(JSON.stringify({ type: 'open', width, height, codec: this.#coder.codec, ...this.#opening }));
    }));
    socket.addEventListener('message', current(({ data }) => this.#heard(JSON.parse(data))));
    socket.addEventListener('close', current(({ reason }) => this.#end(reason || 'The connection was lost.')));
  }

  /** Ends the session. */
  stop() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type: 'close' }));
    this.#end('');
  }

  #resize(most_pixels) {
    const { width, height } = fittingSize(this.#video.videoWidth, this.#video.videoHeight, most_pixels);
    this.#canvas = new OffscreenCanvas(width, height);
    this.#context = this.#canvas.getContext('2d', { alpha: false });
  }

  /** Tries a smaller picture, then one of whatever rate there is time for. */
  #refused(message) {
    const pixels = ROOM * Number(WOULD_FIT.exec(message)?.[1] ?? 0);
    if (!this.#isSmaller && pixels >= LEAST_PIXELS) {
      this.#isSmaller = true;
      this.#resize(pixels);
      const { width, height } = this.#canvas;
      this.#listener.says(`The picture is made smaller, ${width}×${height}, as more could not be painted in time.`);
    } else if (this.#opening.rate !== null) {
      this.#opening = { ...this.#opening, rate: null };
      this.#listener.says('There is not time for all frames: as many are painted as can be.');
    } else {
      this.#end(message);
      return;
    }
    this.#coder.close();
    this.start();
  }

  #heard(message) {
    if (message.type === 'opened') this.#opened(message);
    else if (message.type === 'answered') this.#answered = message.count;
    else if (message.type === 'keyframe') this.#coder.wantsKeyframe = true;
    else if (message.type === 'refused') this.#refused(message.message);
    else if (message.type === 'closed') this.#end(message.message);
  }

  #opened({ id, credit }) {
    this.#credit = credit;
    this.#began_ms = performance.now();
    this.#frames = new Frames(this.#video, (now_ms) => this.#taken(now_ms));
    this.#listener.opened(id);
  }

  #taken(now_ms) {
    const full = this.sent - this.#answered >= this.#credit || this.#socket.bufferedAmount > MOST_UNSENT;
    if (full || this.#coder.busy) {
      this.left_out += 1;
      return;
    }
    this.#context.drawImage(this.#video, 0, 0, this.#canvas.width, this.#canvas.height);
    this.#coder.code(this.#canvas, now_ms - this.#began_ms);
  }

  #send(timestamp_ms, data) {
    if (this.#over || this.#socket.readyState !== WebSocket.OPEN) return;
    const message = new Uint8Array(TIMESTAMP_BYTES + data.length);
    new DataView(message.buffer).setFloat64(0, timestamp_ms, true);
    message.set(data, TIMESTAMP_BYTES);
    this.#socket.send(message);
    this.sent += 1;
  }

  #end(message) {
    if (this.#over) return;
    this.#over = true;
    this.#frames?.stop();
    this.#coder?.close();
    this.#socket?.close();
    this.#listener.ended(message);
  }
}

/** The largest size with even sides that is of use, and has no more pixels than this. */
function fittingSize(width, height, most_pixels) {
  const share = Math.min(1, WIDEST / width, HIGHEST / height, Math.sqrt(most_pixels / (width * height)));
  const even = (side) => Math.max(2, 2 * Math.floor((side * share) / 2));
  return { width: even(width), height: even(height) };
}
