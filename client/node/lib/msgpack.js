/**
 * Reads MessagePack as strictly as the wire wants it.
 *
 * The decoder of @msgpack/msgpack is made for JavaScript's values: 1.0 and 1 come out the same, invalid UTF-8 passes,
 * and a map with the key `__proto__` is refused. The wire tells floats from integers, refuses such text, and ignores
 * keys that it does not know. So headers are written by that library, and read here.
 */

import { MalformedMessage } from './errors.js';

/** A float, which is no integer even if it is whole. */
export class Float {
  /** @param {number} value */
  constructor(value) {
    this.value = value;
  }
}

/** An extension type. No message has one; a newer peer's unknown keys may. */
export class Extension {}

// Fatal: invalid text is refused, not mended. A byte order mark is a character like others.
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The value that the bytes hold, all of them. Integers past what a double holds are bigints, floats are `Float`, maps
 * are objects without a prototype; of a key that comes twice the last one counts.
 *
 * @param {Uint8Array} bytes
 * @param {number} deepest how many maps and arrays may lie in one another
 * @throws {MalformedMessage}
 */
export function decode(bytes, deepest) {
  const reader = new Reader(bytes, deepest);
  const value = reader.value(0);
  reader.end();
  return value;
}

class Reader {
  #at = 0;
  #bytes;
  #view;
  #deepest;

  constructor(bytes, deepest) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#deepest = deepest;
  }

  end() {
    const left = this.#bytes.length - this.#at;
    if (left) throw new MalformedMessage(`the header is not MessagePack: ${left} bytes are left over`);
  }

  /** @param {number} depth of the maps and arrays around it */
  value(depth) {
    const kind = this.#number('getUint8', 1);
    if (kind < 0x80) return kind;
    if (kind < 0x90) return this.#map(kind & 0x0f, depth + 1);
    if (kind < 0xa0) return this.#array(kind & 0x0f, depth + 1);
    if (kind < 0xc0) return this.#text(kind & 0x1f);
    if (kind >= 0xe0) return kind - 0x100;
    switch (kind) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return this.#take(this.#number('getUint8', 1));
      case 0xc5: return this.#take(this.#number('getUint16', 2));
      case 0xc6: return this.#take(this.#number('getUint32', 4));
      case 0xc7: return this.#extension(this.#number('getUint8', 1));
      case 0xc8: return this.#extension(this.#number('getUint16', 2));
      case 0xc9: return this.#extension(this.#number('getUint32', 4));
      case 0xca: return new Float(this.#number('getFloat32', 4));
      case 0xcb: return new Float(this.#number('getFloat64', 8));
      case 0xcc: return this.#number('getUint8', 1);
      case 0xcd: return this.#number('getUint16', 2);
      case 0xce: return this.#number('getUint32', 4);
      case 0xcf: return exact(this.#number('getBigUint64', 8));
      case 0xd0: return this.#number('getInt8', 1);
      case 0xd1: return this.#number('getInt16', 2);
      case 0xd2: return this.#number('getInt32', 4);
      case 0xd3: return exact(this.#number('getBigInt64', 8));
      case 0xd4: case 0xd5: case 0xd6: case 0xd7: case 0xd8: return this.#extension(1 << (kind - 0xd4));
      case 0xd9: return this.#text(this.#number('getUint8', 1));
      case 0xda: return this.#text(this.#number('getUint16', 2));
      case 0xdb: return this.#text(this.#number('getUint32', 4));
      case 0xdc: return this.#array(this.#number('getUint16', 2), depth + 1);
      case 0xdd: return this.#array(this.#number('getUint32', 4), depth + 1);
      case 0xde: return this.#map(this.#number('getUint16', 2), depth + 1);
      case 0xdf: return this.#map(this.#number('getUint32', 4), depth + 1);
      default: throw new MalformedMessage('the header is not MessagePack: the byte c1 stands for nothing');
    }
  }

  #number(getter, size) {
    const at = this.#skip(size);
    return this.#view[getter](at);
  }

  /** Where so many bytes begin, which are then behind us. */
  #skip(size) {
    const at = this.#at;
    if (size > this.#bytes.length - at) {
      throw new MalformedMessage('the header is not MessagePack: it ends in the middle of a value');
    }
    this.#at += size;
    return at;
  }

  #take(size) {
    const at = this.#skip(size);
    return this.#bytes.subarray(at, at + size);
  }

  #text(size) {
    const bytes = this.#take(size);
    try {
      return UTF8.decode(bytes);
    } catch {
      throw new MalformedMessage('the header is not MessagePack: a text is not valid UTF-8');
    }
  }

  #extension(size) {
    this.#skip(1 + size);
    return new Extension();
  }

  #array(count, depth) {
    this.#checkDepth(depth);
    const items = [];
    for (let left = count; left > 0; left--) items.push(this.value(depth));
    return items;
  }

  #map(count, depth) {
    this.#checkDepth(depth);
    const map = Object.create(null);
    for (let left = count; left > 0; left--) {
      const key = this.value(depth);
      if (typeof key !== 'string') throw new MalformedMessage('the header is not MessagePack: a key is no text');
      map[key] = this.value(depth);
    }
    return map;
  }

  #checkDepth(depth) {
    if (depth > this.#deepest) {
      throw new MalformedMessage(`the header has maps and arrays more than ${this.#deepest} deep in one another`);
    }
  }
}

/** @param {bigint} integer */
function exact(integer) {
  const number = Number(integer);
  return Number.isSafeInteger(number) ? number : integer;
}
