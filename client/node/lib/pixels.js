/** How raw pictures lie in a payload: SPEC.md, "Raw pictures". */

import { InvalidMessage } from './errors.js';

const PIXEL_BYTES = { bgr24: 3, rgb24: 3, bgra: 4, gray: 1 };

/** Bytes of a tight row, and rows, of each plane. Odd sizes round up: no pixel goes without chroma. */
function planes(pixels, width, height) {
  const half = [Math.ceil(width / 2), Math.ceil(height / 2)];
  if (pixels === 'yuv420p') return [[width, height], half, half];
  if (pixels === 'nv12') return [[width, height], [2 * half[0], half[1]]];
  if (!Object.hasOwn(PIXEL_BYTES, pixels)) throw new InvalidMessage(`pixels: there are no ${JSON.stringify(pixels)}`);
  return [[width * PIXEL_BYTES[pixels], height]];
}

/**
 * The length of the payload of a raw picture, bytes.
 *
 * @param {string} pixels @param {number} width @param {number} height
 * @param {number[] | null} [strides] bytes a row, one for each plane; null: tight
 * @throws {InvalidMessage}
 */
export function pictureBytes(pixels, width, height, strides = null) {
  const shapes = planes(pixels, width, height);
  const rows = strides ?? shapes.map(([row]) => row);
  if (rows.length !== shapes.length) {
    throw new InvalidMessage(`strides: ${pixels} has ${shapes.length} planes (got ${rows.length} strides)`);
  }
  shapes.forEach(([row], number) => {
    if (rows[number] < row) throw new InvalidMessage(`strides.${number}: at least ${row} bytes (got ${rows[number]})`);
  });
  return shapes.reduce((sum, [, count], number) => sum + count * rows[number], 0);
}
