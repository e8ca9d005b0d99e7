/** Takes the frames of a video element, one after the other, as they are played. */

// Where the browser does not tell of frames: so often a picture is taken, milliseconds.
const TIMED_MS = 1000 / 30;

/** Calls back for each frame that is played. */
export class Frames {
  #video;
  #taken;
  #ticker = null;
  #handle = 0;
  #on = true;
  #hidden = () => this.#tickWhereHidden();

  /** @param {HTMLVideoElement} video @param {(now_ms: number) => void} taken */
  constructor(video, taken) {
    this.#video = video;
    this.#taken = taken;
    document.addEventListener('visibilitychange', this.#hidden);
    this.#next();
    this.#tickWhereHidden();
  }

  /** No more frames are taken. */
  stop() {
    this.#on = false;
    document.removeEventListener('visibilitychange', this.#hidden);
    this.#ticker?.terminate();
    this.#video.cancelVideoFrameCallback?.(this.#handle);
  }

  get #tells() {
    return 'requestVideoFrameCallback' in this.#video;
  }

  #next() {
    if (!this.#on || !this.#tells) return;
    this.#handle = this.#video.requestVideoFrameCallback(() => {
      if (!this.#on) return;
      this.#taken(performance.now());
      this.#next();
    });
  }

  /** A hidden page is told of no frames; but who streams a webcam may look at another window. */
  #tickWhereHidden() {
    const ticks = document.hidden || !this.#tells;
    if (!ticks) {
      this.#ticker?.postMessage(0);
      return;
    }
    if (this.#ticker === null) {
      this.#ticker = new Worker(new URL('ticker.js', import.meta.url));
      this.#ticker.addEventListener('message', () => this.#taken(performance.now()));
    }
    this.#ticker.postMessage(TIMED_MS);
  }
}
