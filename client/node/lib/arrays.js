/** Payloads as arrays. */

/** @typedef {{dtype: string, shape: number[], data: Uint8Array | Float32Array}} FrameMap row by row */

const ITEM_BYTES = { uint8: 1, float32: 4 };

/** Whether a payload is as long as its part says. @param {any} part @param {Uint8Array} bytes */
export const fits = ({ dtype, shape }, bytes) =>
  bytes.byteLength === shape.reduce((product, side) => product * side, ITEM_BYTES[dtype]);

/**
 * A payload as its part describes it. It lies where it came; floats are copied to an address that fits them.
 *
 * @param {any} part @param {Uint8Array} bytes
 * @returns {FrameMap}
 */
export const arrayOf = ({ dtype, shape }, bytes) => ({
  dtype,
  shape,
  data: dtype === 'float32' ? new Float32Array(Uint8Array.from(bytes).buffer) : bytes,
});
