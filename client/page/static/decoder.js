/** Coded pictures to pictures that can be drawn: H.264 by WebCodecs where there is that, JPEG anywhere. */

/**
 * @typedef {object} Picture
 * @property {import('./message.js').Header} header
 * @property {VideoFrame | ImageBitmap} image to be closed by whoever has it last
 * @property {number} arrived_ms when its message came, as performance.now() has it
 * @typedef {object} Listener what a Decoder tells
 * @property {(picture: Picture) => void} picture
 * @property {(seq: number) => void} skipped  the message came to nothing
 * @property {() => void} needsKeyframe
 * @property {(message: string) => void} givesUp  H.264 does not go here: JPEG is wanted
 */

// Any H.264 that the server makes is of this kind, Constrained Baseline; what it really is, each header says.
const USUAL_CONFIG = 'avc1.42E01F';
// A decoder that fails once may have met a broken packet. One that fails again so soon cannot do it, milliseconds.
const FAILS_AGAIN_WITHIN_MS = 10_000;

/** Whether this browser may decode H.264 at all. @returns {Promise<boolean>} */
export function decodesH264() {
  return supports(USUAL_CONFIG);
}

async function supports(codec) {
  if (!('VideoDecoder' in window)) return false;
  try {
    return (await VideoDecoder.isConfigSupported({ codec, optimizeForLatency: true })).supported === true;
  } catch {
    return false; // what the browser takes for no codec at all
  }
}

/** Decodes messages in their order. */
export class Decoder {
  #listener;
  #video = null;
  #config = '';
  #stream = 0; // counts resets: what began before one comes to nothing
  #waitsForKeyframe = true;
  #pending = new Map(); // by seq: what is in the video decoder
  #turn = Promise.resolve(); // at most as many messages as the server lets be unacknowledged wait in it
  #failed_ms = -Infinity;

  /** @param {Listener} listener */
  constructor(listener) {
    this.#listener = listener;
  }

  /** @param {import('./message.js').Header} header @param {Uint8Array} payload */
  decode(header, payload) {
    const arrived_ms = performance.now();
    const stream = this.#stream;
    this.#turn = this.#turn.then(async () => {
      if (stream !== this.#stream) return;
      try {
        if (header.codec === 'jpeg') await this.#jpeg(header, payload, arrived_ms);
        else await this.#h264(header, payload, arrived_ms);
      } catch (error) {
        if (stream === this.#stream) this.#failed(error, header.seq);
      }
    });
  }

  /** Forgets all that is being decoded: another stream follows. */
  reset() {
    this.#stream += 1;
    this.#close();
  }

  #close() {
    if (this.#video?.state === 'configured') this.#video.close();
    this.#video = null;
    this.#config = '';
    this.#waitsForKeyframe = true;
    this.#pending.clear();
  }

  async #jpeg(header, payload, arrived_ms) {
    const stream = this.#stream;
    const image = await createImageBitmap(new Blob([payload], { type: 'image/jpeg' }));
    if (stream === this.#stream) this.#listener.picture({ header, image, arrived_ms });
    else image.close();
  }

  async #h264(header, payload, arrived_ms) {
    if (this.#waitsForKeyframe && !header.coded_keyframe) {
      this.#listener.skipped(header.seq);
      return;
    }
    if (header.config !== this.#config) {
      const stream = this.#stream;
      const configured = await this.#configured(header.config);
      if (stream !== this.#stream) return;
      if (!configured) {
        this.#listener.skipped(header.seq);
        return;
      }
    }
    this.#waitsForKeyframe = false;
    this.#pending.set(header.seq, { header, arrived_ms });
    const type = header.coded_keyframe ? 'key' : 'delta';
    this.#video.decode(new EncodedVideoChunk({ type, timestamp: header.seq, data: payload }));
  }

  async #configured(codec) {
    const stream = this.#stream;
    const supported = await supports(codec);
    if (stream !== this.#stream) return false;
    if (!supported) {
      this.#listener.givesUp(`This browser does not decode ${codec}.`);
      return false;
    }
    this.#close();
    const video = new VideoDecoder({
      output: (image) => this.#decoded(video, image),
      error: (error) => { if (video === this.#video) this.#failed(error); },
    });
    video.configure({ codec, optimizeForLatency: true });
    this.#video = video;
    this.#config = codec;
    return true;
  }

  #decoded(video, image) {
    const pending = this.#pending.get(image.timestamp);
    this.#pending.delete(image.timestamp);
    if (video === this.#video && pending !== undefined) this.#listener.picture({ ...pending, image });
    else image.close();
  }

  #failed(error, seq) {
    for (const lost of [...this.#pending.keys(), seq]) if (lost !== undefined) this.#listener.skipped(lost);
    this.#close();
    const now_ms = performance.now();
    const again = now_ms - this.#failed_ms < FAILS_AGAIN_WITHIN_MS;
    this.#failed_ms = now_ms;
    if (again) this.#listener.givesUp(`The browser's decoder failed twice: ${error.message}`);
    else this.#listener.needsKeyframe();
  }
}
