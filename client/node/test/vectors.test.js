/** The test vectors of the wire, both ways; and the tables here against the schema. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { BRIEF } from '../lib/brief.js';
import * as tables from '../lib/messages.js';
import { RETRY, pack, pictureBytes, toClient, toServer } from '../wire.js';

const PROTO = new URL('../../../proto/', import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(name, PROTO), 'utf8'));
const VALID = read('vectors/valid.json');
const INVALID = read('vectors/invalid.json');
const SCHEMA = read('schema.json').$defs;

const repeated = ({ repeat_hex: hex, times }) => Buffer.alloc((times * hex.length) / 2, hex, 'hex');
const piece = (each) => (typeof each === 'string' ? Buffer.from(each, 'hex') : repeated(each));
const part = (hex) => Buffer.concat([hex].flat().map(piece));
const parse = (direction, parts) => (direction === 'to_server' ? toServer : toClient)(parts);
const table = (direction) => (direction === 'to_server' ? tables.TO_SERVER : tables.TO_CLIENT);
const plain = (message) => JSON.parse(JSON.stringify(message));

for (const { name, direction, parts_hex, message } of VALID) {
  test(`valid: ${direction} ${name}`, () => {
    const parts = parts_hex.map(part);
    const read = parse(direction, parts);
    assert.deepEqual(plain(read.message), message);
    assert.deepEqual(read.payloads, parts.slice(1));
    const again = pack(read.message, read.payloads, table(direction));
    assert.deepEqual(plain(parse(direction, again).message), message);
    assert.deepEqual(again.slice(1), parts.slice(1));
    const isLean = direction === 'to_server' && name.endsWith('-minimal');
    if (isLean) assert.ok(again[0].length <= parts[0].length, 'a default was sent');
  });
}

for (const { name, direction, parts_hex, error } of INVALID) {
  test(`invalid: ${direction} ${name}`, () => {
    assert.throws(() => parse(direction, parts_hex.map(part)), (raised) => raised.code === error);
  });
}

test('there are vectors', () => {
  assert.ok(VALID.length > 90);
  assert.ok(INVALID.length > 100);
});

const MODELS = {
  ...{ Brief: BRIEF, Source: tables.SOURCE, Result: tables.RESULT, Colour: tables.COLOUR, Part: tables.PART },
  ...{ SeenPart: tables.SEEN_PART, Totals: tables.TOTALS },
  ...{ EngineStatus: tables.ENGINE_STATUS, SessionStatus: tables.SESSION_STATUS },
};
for (const [name, { properties, required = [] }] of Object.entries(SCHEMA)) {
  const type = properties?.type?.const;
  const found = type === undefined ? [MODELS[name]] : [tables.TO_SERVER, tables.TO_CLIENT].map((each) => each[type]);
  const own = Object.keys(properties ?? {}).filter((key) => type === undefined || !['v', 'type'].includes(key));
  // `status` is the name of a question and of its answer.
  const fits = (each) => each && (type !== 'status' || Object.keys(each.fields).length === own.length);
  if (properties) {
    test(`table: ${name}`, () => {
      const [table] = found.filter(fits);
      assert.ok(table, 'there is none');
      assert.deepEqual(Object.keys(table.fields).sort(), own.sort());
      const needed = Object.keys(table.fields).filter((key) => table.fields[key].required);
      assert.deepEqual(needed.sort(), required.filter((key) => own.includes(key)).sort());
      for (const key of own.filter((each) => 'default' in properties[each])) {
        const { check, fallback } = table.fields[key];
        assert.deepEqual(plain(check(fallback, key, false)), properties[key].default, key);
      }
    });
  }
}

test('codes are those of the schema', () => {
  assert.deepEqual(Object.keys(RETRY).sort(), [...SCHEMA.Code.enum].sort());
});

test('a key that there is not is not sent', () => {
  const message = { type: 'open', session: 0, source: { width: 4, height: 2 }, pacign: 'live' };
  assert.throws(() => pack(message), /no key "pacign"/);
});

test('text that is no Unicode is not sent', () => {
  const message = { type: 'update', session: 0, request: 1, changes: { prompt: 'half \ud800' } };
  assert.throws(() => pack(message), { code: 'invalid_field' });
});

test('keys named like those of JavaScript objects are keys like others', () => {
  const hex = '84a17601a474797065a470696e67a95f5f70726f746f5f5f81a161c3ab636f6e7374727563746f7201';
  const header = Buffer.from(hex, 'hex');
  assert.deepEqual(toServer([header]).message, { v: 1, type: 'ping', nonce: 0 });
});

test('the lengths of raw pictures are those of the SPEC', () => {
  const spec = readFileSync(new URL('SPEC.md', PROTO), 'utf8');
  const rows = [...spec.matchAll(/^\| `(bgr24|rgb24|bgra|gray|yuv420p|nv12)` \|.*\| (\d+) \|$/gm)];
  assert.equal(rows.length, 6);
  for (const [, pixels, bytes] of rows) assert.equal(pictureBytes(pixels, 5, 3), Number(bytes), pixels);
  assert.equal(pictureBytes('yuv420p', 5, 3, [8, 4, 16]), 64);
  assert.throws(() => pictureBytes('yuv420p', 5, 3, [8, 4]), { code: 'invalid_field' });
  assert.throws(() => pictureBytes('yuv420p', 5, 3, [4, 4, 16]), { code: 'invalid_field' });
});
