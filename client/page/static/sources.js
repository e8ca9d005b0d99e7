/** Webcam and files as sources: what is asked before they begin, and the bar that says how they do. */

import { asSentence, button, byId, icon, make, say } from './dom.js';
import { Sender } from './sender.js';
import { Asking } from './asking.js';

const SHOWN_EVERY_MS = 1_000;
const WEBCAM = { video: { width: { ideal: 1280 }, height: { ideal: 720 } }, audio: false };

/** One source at a time. */
export class Sources {
  #listener;
  #asking;
  #bar = byId('source-bar');
  #figures = make('span', { class: 'source-figures' });
  #sender = null;
  #video = null;
  #before = { sent: 0, at_ms: 0 };

  /**
   * @param {{opened: (id: string) => void, says: (message: string) => void, engines: () => any[],
   *     looks: (painter: string | null) => string[]}} listener
   */
  constructor(listener) {
    this.#listener = listener;
    this.#asking = new Asking(listener);
    const input = byId('file-input');
    byId('use-webcam').addEventListener('click', () => this.webcam());
    byId('open-file').addEventListener('click', () => input.click());
    input.addEventListener('change', () => {
      if (input.files.length) this.file(input.files[0]);
      input.value = '';
    });
    this.#listenToDrops();
    window.addEventListener('pagehide', () => this.stop());
    setInterval(() => this.#showFigures(), SHOWN_EVERY_MS);
  }

  /** Asks how the webcam is to be painted, and begins. */
  async webcam() {
    const wishes = await this.#asking.ask('Use webcam', 'The browser asks before it shows the camera to this page.');
    if (wishes === null) return;
    try {
      const stream = await navigator.mediaDevices.getUserMedia(WEBCAM);
      const rate = stream.getVideoTracks()[0].getSettings().frameRate ?? null;
      await this.#play((video) => { video.srcObject = stream; }, { name: 'webcam', rate, ...wishes });
    } catch (error) {
      this.#trouble(`The webcam cannot be used: ${whyNoCamera(error)}`);
    }
  }

  /** Asks how a file is to be painted, and begins. @param {File} file */
  async file(file) {
    const wishes = await this.#asking.ask('Open a file', file.name);
    if (wishes === null) return;
    try {
      const opening = { name: file.name, rate: null, ...wishes };
      await this.#play((video) => { video.src = URL.createObjectURL(file); }, opening);
    } catch {
      this.#trouble(`This browser cannot play ${file.name}.`);
    }
  }

  /** Ends what is being sent. */
  stop() {
    this.#sender?.stop();
  }

  async #play(give, opening) {
    this.stop();
    const video = make('video', {
      class: 'away', loop: true, playsinline: true, 'aria-hidden': 'true', tabindex: '-1',
    });
    video.muted = true;
    document.body.append(video);
    try {
      give(video);
      await video.play();
    } catch (error) {
      letGo(video);
      throw error;
    }
    const sender = new Sender(video, opening, {
      opened: (id) => this.#listener.opened(id),
      says: (message) => this.#listener.says(message),
      ended: (message) => {
        letGo(video);
        if (sender === this.#sender) this.#ended(opening.name, message);
      },
    });
    this.#sender = sender;
    this.#before = { sent: 0, at_ms: performance.now() };
    this.#showBar(opening.name);
    await sender.start();
  }

  #ended(name, message) {
    this.#sender = null;
    this.#bar.hidden = true;
    if (message) this.#trouble(`The source ${name} has ended: ${message}`);
    else this.#listener.says(`The source ${name} is stopped.`);
  }

  /** Says what went wrong, and leaves it there until it is read. */
  #trouble(what) {
    const message = asSentence(what);
    const hide = () => { this.#bar.hidden = true; };
    const close = button('Close', { icon: 'close', class: 'button small', on: { click: hide } });
    this.#bar.replaceChildren(make('span', { class: 'source-text', text: message }), close);
    this.#bar.classList.add('bad');
    this.#bar.hidden = false;
    this.#listener.says(message);
  }

  #showBar(name) {
    const stop = button('Stop', { icon: 'stop', class: 'button small', on: { click: () => this.stop() } });
    const text = make('span', { class: 'source-text' }, make('strong', { text: name }), this.#figures);
    this.#bar.replaceChildren(icon(name === 'webcam' ? 'camera' : 'film'), text, stop);
    this.#bar.classList.remove('bad');
    say(this.#figures, 'opening…');
    this.#bar.hidden = false;
  }

  #showFigures() {
    const sender = this.#sender;
    if (sender === null) return;
    const now_ms = performance.now();
    const rate = (1000 * (sender.sent - this.#before.sent)) / (now_ms - this.#before.at_ms);
    this.#before = { sent: sender.sent, at_ms: now_ms };
    const lost = sender.left_out ? `, ${sender.left_out} left out as they came too fast` : '';
    say(this.#figures, sender.sent ? `${rate.toFixed(0)} fps sent as ${sender.codec}${lost}` : 'opening…');
  }

  #listenToDrops() {
    const hint = byId('drop-hint');
    const brings = (event) => [...event.dataTransfer.types].includes('Files');
    document.addEventListener('dragover', (event) => {
      if (!brings(event)) return;
      event.preventDefault();
      hint.hidden = false;
    });
    document.addEventListener('dragleave', (event) => { if (event.relatedTarget === null) hint.hidden = true; });
    document.addEventListener('drop', (event) => {
      hint.hidden = true;
      if (!brings(event)) return;
      event.preventDefault();
      if (event.dataTransfer.files.length) this.file(event.dataTransfer.files[0]);
    });
  }
}

function letGo(video) {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  if (video.src) URL.revokeObjectURL(video.src);
  video.removeAttribute('src');
  video.srcObject = null;
  video.remove();
}

function whyNoCamera({ name, message }) {
  if (name === 'NotAllowedError') return 'the browser does not allow it. Its address bar has the switch.';
  if (name === 'NotFoundError') return 'there is none.';
  if (name === 'NotReadableError') return 'another program has it.';
  if (name === 'TypeError') return 'a browser gives it only to pages of this machine, or by https.';
  return message;
}
