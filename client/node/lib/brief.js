/** What to paint, and how the painting moves: SPEC.md, "Brief". */

import {
  dictionary,
  flag,
  integer,
  list,
  number,
  oneOf,
  optional,
  orNil,
  plainNumber,
  refuse,
  table,
  text,
} from './fields.js';
import { MAX_BLOCKED_TAGS, MAX_CONTROLS, MAX_INTEGER, MAX_LORAS, MAX_NAME, MAX_TEXT } from './limits.js';

// Largest weight of a LoRA or a control, either way.
const MAX_WEIGHT = 4;
const MAX_CHANGES = 64;
const JSON_NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

const NAME = text(1, MAX_NAME);
const SHARE = number(0, 1);
const SECONDS = number(0, 3600);

/** The name and the numbers of `NAME:NUMBER:...`, of which there are as many as one of `counts` says. */
function parts(item, counts, form, where) {
  const [name, ...numbers] = item.split(':');
  const isRight = name !== '' && counts.includes(numbers.length) && numbers.every((each) => JSON_NUMBER.test(each));
  if (!isRight) refuse(where, form, item);
  const [weight = 1, start = 0, end = 1] = numbers.map(Number);
  if (Math.abs(weight) > MAX_WEIGHT) refuse(where, `of a weight between -${MAX_WEIGHT} and ${MAX_WEIGHT}`, item);
  return { name, start, end };
}

function checkNames(names, items, where) {
  const twice = items.find((_, number) => names.indexOf(names[number]) !== number);
  if (twice !== undefined) refuse(where, 'a list that names each once', twice);
}

function lorasCanBeRead(items, where) {
  checkNames(items.map((each) => parts(each, [0, 1], 'NAME or NAME:WEIGHT', where).name), items, where);
}

function controlsCanBeRead(items, where) {
  const read = items.map((each) => parts(each, [0, 1, 3], 'KIND, KIND:WEIGHT or KIND:WEIGHT:START:END', where));
  const areShares = ({ start, end }) => 0 <= start && start < end && end <= 1;
  const wrong = items.find((_, number) => !areShares(read[number]));
  if (wrong !== undefined) refuse(where, 'of shares of the steps, 0 <= START < END <= 1', wrong);
  checkNames(read.map((each) => each.name), items, where);
}

function gapsInOrder({ keyframe_gap_min_s: least, keyframe_gap_max_s: most }, where) {
  if (least > most) refuse(`${where}.keyframe_gap_min_s`, `at most keyframe_gap_max_s, ${most}`, least);
}

/** Unknown keys are refused, whoever sends them: a wish that is dropped in silence looks like a deaf painter. */
export const BRIEF = table(
  {
    look: optional(orNil(NAME), null),
    prompt: optional(text(0, MAX_TEXT), ''),
    negative_prompt: optional(text(0, MAX_TEXT), ''),
    strength: optional(SHARE, 0.75),
    seed: optional(integer(0, MAX_INTEGER), 0),
    vary_seed: optional(flag, false),
    steps: optional(integer(1, 150), 20),
    guidance: optional(number(0, 30), 7.5),
    scheduler: optional(oneOf('ddim', 'dpm++', 'euler', 'euler_a', 'lcm', 'tcd', 'unipc'), 'ddim'),
    loras: optional(list(NAME, 0, MAX_LORAS, lorasCanBeRead), []),
    controls: optional(list(NAME, 0, MAX_CONTROLS, controlsCanBeRead), []),
    vae: optional(oneOf('full', 'tiny'), 'full'),
    clip_skip: optional(integer(0, 11), 0),
    prompt_fade_s: optional(number(0, 60), 0),
    keyframe_start: optional(oneOf('raw', 'warped'), 'raw'),
    attend_last: optional(flag, false),
    colour_lock_s: optional(SECONDS, 0),
    tag_threshold: optional(SHARE, 0),
    tag_prefix: optional(text(0, MAX_TEXT), ''),
    tag_block: optional(list(NAME, 0, MAX_BLOCKED_TAGS), []),
    keyframes: optional(oneOf('auto', 'marked'), 'auto'),
    keyframe_threshold: optional(number(0, 255), 80),
    keyframe_gap_min_s: optional(SECONDS, 1 / 3),
    keyframe_gap_max_s: optional(number(0, 3600, { open: true }), 10),
    cut_detection: optional(flag, true),
    hole_limit: optional(SHARE, 0.5),
    hole_limit_s: optional(SECONDS, 0.2),
    repaint_gap_s: optional(SECONDS, 0.25),
    lookahead_s: optional(number(0, 60), 0),
    confidence: optional(SHARE, 0.25),
    max_hops: optional(integer(1, 254), 16),
    references: optional(integer(1, 8), 2),
    idle_keyframes: optional(integer(0, 16), 4),
    keyframe_entry: optional(oneOf('lazy', 'fade'), 'lazy'),
    follow_light: optional(flag, true),
    fade_s: optional(number(0, 10), 0.1),
    when_unpainted: optional(oneOf('raw', 'held'), 'raw'),
    feather: optional(integer(0, 64), 3),
  },
  { closed: true, rule: gapsInOrder },
);

const TEXTS = list(text(0));

/** Fields of the Brief and their new values. The daemon checks them against the whole Brief. */
export const CHANGES = dictionary(
  NAME,
  (value, where, strict) => {
    if (value === null || typeof value === 'boolean') return value;
    if (typeof value === 'string') return text(0)(value, where, strict);
    if (Array.isArray(value)) return TEXTS(value, where, strict);
    return plainNumber(value) ?? refuse(where, 'text, boolean, number, list of text or nil', value);
  },
  MAX_CHANGES,
);
