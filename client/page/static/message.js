/**
 * One frame as it comes: the length of its header, the header, and one coded picture in which the tiles lie one under
 * the other.
 *
 * @typedef {{name: string, x: number, y: number, width: number, height: number}} Tile
 * @typedef {object} Header
 * @property {number} seq @property {number} index @property {number} pts seconds @property {number} epoch
 * @property {'painted' | 'warped' | 'filled' | 'held'} provenance @property {boolean} keyframe
 * @property {number} holes 0 to 1 @property {number} confidence 0 to 1 @property {number} delay_ms
 * @property {Record<string, number>} stages_ms @property {'h264' | 'jpeg'} codec @property {string} [config]
 * @property {boolean} coded_keyframe @property {number} width @property {number} height @property {Tile[]} tiles
 * @property {number} sent_ms when the server sent it, milliseconds since 1970
 */

const LENGTH_BYTES = 4;
const text = new TextDecoder();

/** @param {ArrayBuffer} data @returns {{header: Header, payload: Uint8Array}} @throws {RangeError | SyntaxError} */
export function parseFrame(data) {
  const length = new DataView(data).getUint32(0, true);
  const header = JSON.parse(text.decode(new Uint8Array(data, LENGTH_BYTES, length)));
  return { header, payload: new Uint8Array(data, LENGTH_BYTES + length) };
}
