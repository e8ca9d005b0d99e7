/**
 * Messages to bytes and back. No sockets.
 *
 * A message is `[header, payload...]`: a MessagePack map, and raw bytes. It is a plain object here, with the keys of
 * SPEC.md: `{v: 1, type: 'frame', session: 0, index: 3, pts: 120}`.
 *
 * @typedef {Record<string, any> & {type: string}} Message
 * @typedef {{message: Message, payloads: Uint8Array[]}} Received payloads: views on what was received, not copies
 */

import { encode } from '@msgpack/msgpack';

import { InvalidMessage, MalformedMessage, TooLarge, UnknownMessage, UnsupportedVersion } from './lib/errors.js';
import { lean } from './lib/fields.js';
import { MAX_HEADER_BYTES, MAX_NESTING, MAX_PAYLOAD_BYTES, MAX_PAYLOADS } from './lib/limits.js';
import { TO_CLIENT, TO_SERVER } from './lib/messages.js';
import { decode } from './lib/msgpack.js';

export * from './lib/errors.js';
export * from './lib/limits.js';
export { pictureBytes } from './lib/pixels.js';

/** The version of the protocol that is spoken here. */
export const VERSION = 1;

/** What a client sent. @param {Uint8Array[]} parts @returns {Received} @throws {ProtocolError} and nothing else */
export const toServer = (parts) => parse(parts, TO_SERVER);

/** What a daemon sent. @param {Uint8Array[]} parts @returns {Received} @throws {ProtocolError} and nothing else */
export const toClient = (parts) => parse(parts, TO_CLIENT);

/**
 * The parts of a message, ready to be sent. `v` may be left out, and so may keys that have their defaults.
 *
 * @param {Message} message @param {Uint8Array[]} [payloads] @param {typeof TO_SERVER | typeof TO_CLIENT} [direction]
 * @returns {Uint8Array[]}
 * @throws {ProtocolError} for a message that would be refused at the other end, and for keys that there are not
 */
export function pack(message, payloads = [], direction = TO_SERVER) {
  const { v = VERSION, type, ...given } = message;
  checkVersion(v);
  checkSizes(payloads);
  const check = checkFor(type, direction);
  const whole = check(given, type, true);
  checkCount({ type, ...whole }, payloads);
  const header = encode({ v, type, ...lean(check.fields, whole) });
  checkHeaderSize(header);
  return [header, ...payloads];
}

// The order of the checks is that of SPEC.md, "Errors": the first that fails gives the code.
function parse(parts, direction) {
  if (parts.length === 0) throw new MalformedMessage('a message has at least a header; this one has no parts');
  const [first, ...payloads] = parts;
  const { v, type, ...fields } = headerOf(first);
  checkVersion(v);
  checkSizes(payloads);
  const message = { v, type, ...checkFor(type, direction)(fields, String(type), false) };
  checkCount(message, payloads);
  return { message, payloads };
}

function headerOf(bytes) {
  checkHeaderSize(bytes);
  const header = decode(bytes, MAX_NESTING);
  // A map is the one thing that is read as an object without a prototype.
  if (typeof header !== 'object' || header === null || Object.getPrototypeOf(header) !== null) {
    throw new MalformedMessage('the header must be a MessagePack map');
  }
  return header;
}

function checkHeaderSize({ length }) {
  if (length > MAX_HEADER_BYTES) throw new TooLarge(`the header has ${length} bytes, of at most ${MAX_HEADER_BYTES}`);
}

function checkVersion(v) {
  if (v !== VERSION) throw new UnsupportedVersion(`\`v\` must be ${VERSION}, the version spoken here`);
}

function checkSizes(payloads) {
  if (payloads.length > MAX_PAYLOADS) {
    throw new TooLarge(`a message has at most ${MAX_PAYLOADS} payloads (got ${payloads.length})`);
  }
  payloads.forEach(({ byteLength }, number) => {
    if (byteLength > MAX_PAYLOAD_BYTES) {
      throw new TooLarge(`payload ${number} has ${byteLength} bytes, of at most ${MAX_PAYLOAD_BYTES}`);
    }
  });
}

function checkFor(type, direction) {
  if (typeof type !== 'string' || !Object.hasOwn(direction, type)) {
    const shown = typeof type === 'string' ? ` ${JSON.stringify(type.slice(0, 60))}` : '';
    throw new UnknownMessage(`\`type\`${shown} is not known here`);
  }
  return direction[type];
}

function checkCount(message, payloads) {
  const expected = payloadsOf(message);
  if (payloads.length !== expected) {
    throw new InvalidMessage(`a \`${message.type}\` like this has ${expected} payloads (got ${payloads.length})`);
  }
}

function payloadsOf(message) {
  if (message.type === 'frame') return 1 + message.controls.length;
  return message.type === 'painted' || message.type === 'seen' ? message.parts.length : 0;
}
