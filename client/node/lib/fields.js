/**
 * What the tables of SPEC.md are made of: checks that a value must pass.
 *
 * A check takes a value and where it stands, and returns the value as the caller is to see it: defaults filled in,
 * floats as plain numbers, keys that are not known left out. It throws InvalidMessage. The same checks hold what comes
 * and what is to be sent; `strict` is for the latter, where a key that is not known is a misspelt one.
 *
 * @typedef {(value: any, where: string, strict: boolean) => any} Check
 * @typedef {{check: Check, required: boolean, fallback: any}} Field
 */

import { InvalidMessage } from './errors.js';
import { MAX_INTEGER } from './limits.js';
import { Float } from './msgpack.js';

// As much of a bad value as a sentence has room for.
const SHOWN = 60;

/** @param {string} where @param {string} rule @param {any} value @returns {never} */
export function refuse(where, rule, value) {
  throw new InvalidMessage(`${where}: must be ${rule} (got ${shown(value)})`);
}

function shown(value) {
  const plain = value instanceof Float ? value.value : value;
  const isPlain = plain === null || ['string', 'number', 'boolean'].includes(typeof plain);
  const text = isPlain ? JSON.stringify(Number.isNaN(plain) ? 'NaN' : plain) : kindOf(plain);
  return text.length > SHOWN ? `${text.slice(0, SHOWN - 3)}...` : text;
}

function kindOf(value) {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  return typeof value === 'bigint' ? String(value) : `a ${typeof value === 'object' ? 'map' : typeof value}`;
}

/** @param {Check} check @returns {Field} */
export const required = (check) => ({ check, required: true, fallback: undefined });

/** @param {Check} check @param {any} fallback what it is where it is left out @returns {Field} */
export const optional = (check, fallback) => ({ check, required: false, fallback });

/** @param {number} least @param {number} [most] @returns {Check} */
export const integer = (least, most = MAX_INTEGER) => (value, where) =>
  typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
    ? value
    : refuse(where, `an integer from ${least} to ${most}`, value);

/**
 * @param {number} least @param {number} [most] @param {{open?: boolean}} [options] open: `least` itself is too little
 * @returns {Check}
 */
export const number = (least, most = Infinity, { open = false } = {}) => (value, where) => {
  const plain = plainNumber(value);
  if (plain !== undefined && plain <= most && (open ? plain > least : plain >= least)) return plain;
  const upTo = most === Infinity ? '' : ` to ${most}`;
  return refuse(where, `a number ${open ? 'above' : 'from'} ${least}${upTo}`, value);
};

/** The number that a value is, or undefined. */
export function plainNumber(value) {
  const plain = value instanceof Float ? value.value : typeof value === 'bigint' ? Number(value) : value;
  return typeof plain === 'number' && Number.isFinite(plain) ? plain : undefined;
}

/** @type {Check} */
export const flag = (value, where) => (typeof value === 'boolean' ? value : refuse(where, 'true or false', value));

/** @param {number} least @param {number} [most] in code points @returns {Check} */
export const text = (least, most = Infinity) => (value, where) => {
  const rule = `text of ${least} to ${most} characters`;
  if (typeof value !== 'string' || !value.isWellFormed()) return refuse(where, rule, value);
  const size = value.length <= most ? value.length : [...value].length; // UTF-16 has never fewer units than points
  return size >= least && size <= most ? value : refuse(where, rule, value);
};

/** @param {...(string | number)} allowed @returns {Check} */
export const oneOf = (...allowed) => (value, where) =>
  allowed.includes(value) ? value : refuse(where, `one of ${allowed.join(', ')}`, value);

/** @param {Check} check @returns {Check} */
export const orNil = (check) => (value, where, strict) => (value === null ? null : check(value, where, strict));

/**
 * @param {Check} item @param {number} [least] @param {number} [most]
 * @param {(items: any[], where: string) => void} [rule] of all of them
 * @returns {Check}
 */
export const list = (item, least = 0, most = Infinity, rule = () => {}) => (value, where, strict) => {
  if (!Array.isArray(value)) return refuse(where, 'a list', value);
  if (value.length < least || value.length > most) return refuse(where, `a list of ${least} to ${most}`, value);
  const items = value.map((each, number) => item(each, `${where}.${number}`, strict));
  rule(items, where);
  return items;
};

/** Of a list: each may be named once. @param {any[]} items @param {string} where */
export function once(items, where) {
  const twice = items.find((each, number) => items.indexOf(each) !== number);
  if (twice !== undefined) refuse(where, 'a list that names each once', twice);
}

/** A map with keys of the sender's own. @param {Check} key @param {Check} item @param {number} most @returns {Check} */
export const dictionary = (key, item, most) => (value, where, strict) => {
  const entries = Object.entries(asMap(value, where));
  if (entries.length > most) return refuse(where, `a map of at most ${most} keys`, value);
  const made = Object.create(null);
  for (const [name, each] of entries) made[key(name, where, strict)] = item(each, `${where}.${name}`, strict);
  return made;
};

/**
 * A map with the keys of a table of SPEC.md.
 *
 * @param {Record<string, Field>} fields
 * @param {{closed?: boolean, rule?: (made: any, where: string) => void}} [options]
 *     closed: unknown keys are refused, whoever sends them. rule: what concerns several fields
 * @returns {Check & {fields: Record<string, Field>}}
 */
export function table(fields, { closed = false, rule = () => {} } = {}) {
  /** @type {Check} */
  const check = (value, where, strict) => {
    const given = asMap(value, where);
    if (closed || strict) checkKnown(given, fields, where);
    const made = {};
    for (const [name, field] of Object.entries(fields)) {
      made[name] = valueOf(given, name, field, where, strict);
    }
    rule(made, where);
    return made;
  };
  return Object.assign(check, { fields });
}

function asMap(value, where) {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
  return isMap && !(value instanceof Float) ? value : refuse(where, 'a map', value);
}

function checkKnown(given, fields, where) {
  const unknown = Object.keys(given).find((name) => !Object.hasOwn(fields, name));
  if (unknown !== undefined) throw new InvalidMessage(`${where}: there is no key ${shown(unknown)}`);
}

function valueOf(given, name, field, where, strict) {
  // Of what is to be sent, a key that is undefined is one that was left out.
  const isGiven = Object.hasOwn(given, name) && given[name] !== undefined;
  if (!isGiven && field.required) throw new InvalidMessage(`${where}.${name}: is missing`);
  return field.check(isGiven ? given[name] : field.fallback, `${where}.${name}`, strict);
}

/**
 * What is to be sent of a map that has all its keys: those that do not hold their defaults.
 *
 * @param {Record<string, Field>} fields @param {any} value
 */
export function lean(fields, value) {
  const sent = {};
  for (const [name, field] of Object.entries(fields)) {
    const inner = /** @type {any} */ (field.check).fields;
    const made = inner ? lean(inner, value[name]) : value[name];
    const isDefault = !field.required && JSON.stringify(made) === JSON.stringify(field.fallback);
    if (!isDefault) sent[name] = made;
  }
  return sent;
}
