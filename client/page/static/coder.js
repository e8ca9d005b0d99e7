/** Pictures to what is sent: H.264 by WebCodecs where there is that, else JPEG. */

// Blocky it must not be, as paint makes blocks visible; and it stays on this machine, bits a pixel and second.
const BITS_A_PIXEL = 0.12;
const RATE_GUESSED = 30;
// The server may have lost one: so often a picture is coded whole, milliseconds.
const KEYFRAME_EVERY_MS = 2_000;
// The encoder may work on so many at once: on more, the camera is quicker than it.
const MOST_IN_HAND = 1;
const JPEG_QUALITY = 0.85;
// Levels of H.264 by the largest picture, macroblocks, and how many a second.
const LEVELS = [['1F', 3600, 108_000], ['20', 5120, 216_000], ['28', 8192, 245_760], ['33', 36_864, 983_040]];
const MACROBLOCK = 16;

/**
 * @typedef {(timestamp_ms: number, data: Uint8Array) => void} Coded
 * @typedef {object} Coder
 * @property {'h264' | 'jpeg'} codec
 * @property {boolean} busy  whether it takes nothing for the moment
 * @property {boolean} wantsKeyframe  set by whoever needs a coded keyframe
 * @property {(canvas: OffscreenCanvas, timestamp_ms: number) => void} code
 * @property {() => void} close
 */

/**
 * The best coder that this browser has for such pictures.
 *
 * @param {{width: number, height: number, rate: number | null}} size both sides even
 * @param {Coded} coded @param {(message: string) => void} failed @returns {Promise<Coder>}
 */
export async function coderFor(size, coded, failed) {
  const config = h264Config(size);
  return (await encodes(config)) ? new H264Coder(config, coded, failed) : new JpegCoder(coded, failed);
}

function h264Config({ width, height, rate }) {
  const framerate = rate ?? RATE_GUESSED;
  const blocks = Math.ceil(width / MACROBLOCK) * Math.ceil(height / MACROBLOCK);
  const [level] = LEVELS.find(([, most, second]) => blocks <= most && blocks * framerate <= second) ?? LEVELS.at(-1);
  return {
    codec: `avc1.42E0${level}`,
    width,
    height,
    framerate,
    bitrate: Math.round(BITS_A_PIXEL * width * height * framerate),
    latencyMode: 'realtime', // which also means no B frames
    avc: { format: 'annexb' },
  };
}

async function encodes(config) {
  if (!('VideoEncoder' in window)) return false;
  try {
    return (await VideoEncoder.isConfigSupported(config)).supported === true;
  } catch {
    return false;
  }
}

class H264Coder {
  codec = 'h264';
  wantsKeyframe = true;
  #encoder;
  #keyframe_ms = -Infinity;

  constructor(config, coded, failed) {
    this.#encoder = new VideoEncoder({
      output: (chunk) => {
        const data = new Uint8Array(chunk.byteLength);
        chunk.copyTo(data);
        coded(chunk.timestamp / 1000, data);
      },
      error: (error) => failed(`The browser's encoder failed: ${error.message}`),
    });
    this.#encoder.configure(config);
  }

  get busy() {
    return this.#encoder.state !== 'configured' || this.#encoder.encodeQueueSize > MOST_IN_HAND;
  }

  code(canvas, timestamp_ms) {
    const keyFrame = this.wantsKeyframe || timestamp_ms - this.#keyframe_ms >= KEYFRAME_EVERY_MS;
    const frame = new VideoFrame(canvas, { timestamp: Math.round(1000 * timestamp_ms) });
    this.#encoder.encode(frame, { keyFrame });
    frame.close();
    this.wantsKeyframe = false;
    if (keyFrame) this.#keyframe_ms = timestamp_ms;
  }

  close() {
    if (this.#encoder.state !== 'closed') this.#encoder.close();
  }
}

class JpegCoder {
  codec = 'jpeg';
  wantsKeyframe = false; // each is one
  busy = false;
  #coded;
  #failed;

  constructor(coded, failed) {
    this.#coded = coded;
    this.#failed = failed;
  }

  async code(canvas, timestamp_ms) {
    this.busy = true;
    try {
      const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality: JPEG_QUALITY });
      this.#coded(timestamp_ms, new Uint8Array(await blob.arrayBuffer()));
    } catch (error) {
      this.#failed(`The browser could not make a JPEG: ${error.message}`);
    } finally {
      this.busy = false;
    }
  }

  close() {}
}
