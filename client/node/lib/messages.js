/** The tables of SPEC.md: the messages of each direction, and the parts of their headers. */

import { BRIEF, CHANGES } from './brief.js';
import { RETRY } from './errors.js';
import {
  dictionary,
  flag,
  integer,
  list,
  number,
  once,
  oneOf,
  optional,
  orNil,
  refuse,
  required,
  table,
  text,
} from './fields.js';
import {
  MAX_CONTROLS,
  MAX_DELAY_MS,
  MAX_INTEGER,
  MAX_LINGER_S,
  MAX_NAME,
  MAX_PICTURE_PIXELS,
  MAX_RATE,
  MAX_SESSION,
  MAX_SIDE,
  MAX_TAGS,
  MAX_TEXT,
  MAX_WATCH_WINDOW,
  MAX_WINDOW,
} from './limits.js';

const COUNT = integer(0);
const POSITIVE = integer(1);
const PTS = integer(-MAX_INTEGER);
const NAME = text(1, MAX_NAME);
const LABEL = text(0, MAX_NAME);
const TEXT = text(0, MAX_TEXT);
const SIDE = integer(1, MAX_SIDE);
const SHARE = number(0, 1);
const FROM_ZERO = number(0);
const FRAMES = integer(1, MAX_WINDOW);
const RATIO = list(POSITIVE, 2, 2);
const CODE = oneOf(...Object.keys(RETRY));
const ENCODING = oneOf('raw', 'jpeg', 'mjpeg', 'h264', 'hevc', 'vp8', 'vp9', 'av1');
const PIXELS = oneOf('bgr24', 'rgb24', 'bgra', 'gray', 'yuv420p', 'nv12');
const PACING = oneOf('every', 'live');
const PROVENANCE = oneOf('painted', 'warped', 'filled', 'held');
const DTYPE = oneOf('uint8', 'float32');
const RATE = optional(orNil(number(0, MAX_RATE, { open: true })), null);
const VIEWS = ['raw', 'painted'];
const MAPS = ['flow', 'confidence', 'hops', 'holes'];
const STAGES = 32;

const SESSION = { session: required(integer(0, MAX_SESSION)) };
const REQUEST = { ...SESSION, request: required(COUNT) };
const ANSWER = { ...SESSION, seq: optional(orNil(COUNT), null) };
const NONCE = { nonce: optional(COUNT, 0) };

export const COLOUR = table({
  matrix: optional(orNil(oneOf('bt601', 'bt709', 'bt2020')), null),
  full_range: optional(flag, false),
});

export const SOURCE = table(
  {
    width: required(SIDE),
    height: required(SIDE),
    encoding: optional(ENCODING, 'raw'),
    pixels: optional(PIXELS, 'bgr24'),
    strides: optional(orNil(list(POSITIVE, 0, 4)), null),
    colour: optional(COLOUR, {}),
    time_base: optional(RATIO, [1, 1000]),
    sample_aspect: optional(RATIO, [1, 1]),
    rotation: optional(oneOf(0, 90, 180, 270), 0),
    rate: RATE,
  },
  {
    rule: ({ width, height }, where) => {
      if (width * height > MAX_PICTURE_PIXELS) refuse(where, `at most ${MAX_PICTURE_PIXELS} pixels`, width * height);
    },
  },
);

export const RESULT = table({
  encoding: optional(ENCODING, 'raw'),
  pixels: optional(PIXELS, 'bgr24'),
  quality: optional(integer(1, 100), 90),
  crf: optional(integer(0, 51), 20),
  gop_frames: optional(integer(1, 10_000), 60),
});

export const PART = table({
  name: required(oneOf('picture', ...MAPS)),
  dtype: optional(orNil(DTYPE), null),
  shape: optional(orNil(list(POSITIVE, 0, 3)), null),
});

export const SEEN_PART = table({
  name: required(oneOf(...VIEWS, ...MAPS)),
  dtype: required(DTYPE),
  shape: required(list(POSITIVE, 2, 3)),
});

export const TOTALS = table({
  received: optional(COUNT, 0),
  painted: optional(COUNT, 0),
  dropped: optional(COUNT, 0),
  failed: optional(COUNT, 0),
  keyframes: optional(COUNT, 0),
  canvas_pixels: optional(COUNT, 0),
  painted_pixels: optional(COUNT, 0),
});

export const ENGINE_STATUS = table({
  name: required(NAME),
  kind: required(oneOf('painter', 'flow')),
  calls: optional(COUNT, 0),
  mean_ms: optional(FROM_ZERO, 0),
  memory_bytes: optional(orNil(COUNT), null),
});

export const SESSION_STATUS = table({
  ...SESSION,
  id: optional(LABEL, ''),
  client: optional(LABEL, ''),
  painter: required(NAME),
  flow: required(NAME),
  pacing: required(PACING),
  width: required(SIDE),
  height: required(SIDE),
  waiting: required(COUNT),
  unsent: required(COUNT),
  references_bytes: required(COUNT),
  connected: optional(flag, true),
  delay_ms: optional(FROM_ZERO, 0),
  totals: required(TOTALS),
  stages_ms: required(dictionary(NAME, FROM_ZERO, STAGES)),
  dropped_at: required(dictionary(NAME, COUNT, STAGES)),
});

/** Messages to the daemon, by their `type`. */
export const TO_SERVER = Object.freeze({
  open: table({
    ...SESSION,
    source: required(SOURCE),
    result: optional(RESULT, {}),
    brief: optional(BRIEF, {}),
    painter: optional(orNil(NAME), null),
    flow: optional(orNil(NAME), null),
    pacing: optional(PACING, 'every'),
    max_delay_ms: optional(number(1, MAX_DELAY_MS), 100),
    linger_s: optional(orNil(number(0, MAX_LINGER_S)), null),
    max_pixels: optional(orNil(integer(64, MAX_PICTURE_PIXELS)), null),
    maps: optional(list(oneOf(...MAPS), 0, MAPS.length, once), []),
    client: optional(LABEL, ''),
  }),
  resume: table({ ...SESSION, token: required(NAME), seq: optional(COUNT, 0) }),
  ack: table({ ...SESSION, seq: required(COUNT) }),
  frame: table({
    ...SESSION,
    index: required(COUNT),
    pts: required(PTS),
    controls: optional(list(NAME, 0, MAX_CONTROLS, once), []),
    keyframe: optional(flag, false),
  }),
  update: table({ ...REQUEST, changes: required(CHANGES) }),
  rekey: table(REQUEST),
  hold: table({ ...REQUEST, on: required(flag) }),
  watch: table({
    ...SESSION,
    id: required(NAME),
    pictures: optional(list(oneOf(...VIEWS), 0, VIEWS.length, once), VIEWS),
    maps: optional(list(oneOf(...MAPS), 0, MAPS.length, once), []),
    window: optional(integer(1, MAX_WATCH_WINDOW), 2),
  }),
  request_keyframe: table(SESSION),
  flush: table(REQUEST),
  close: table({ ...SESSION, discard: optional(flag, false) }),
  ping: table(NONCE),
  pong: table(NONCE),
  status: table({}),
});

/** Messages to the client, by their `type`. */
export const TO_CLIENT = Object.freeze({
  opened: table({
    ...SESSION,
    token: required(NAME),
    credit: required(FRAMES),
    epoch: required(COUNT),
    painter: required(NAME),
    flow: required(NAME),
    looks: required(list(NAME)),
    width: required(SIDE),
    height: required(SIDE),
    server: required(LABEL),
    linger_s: optional(FROM_ZERO, 0),
    id: optional(LABEL, ''),
  }),
  resumed: table({
    ...SESSION,
    credit: required(FRAMES),
    epoch: required(COUNT),
    last_index: optional(orNil(COUNT), null),
    last_request: optional(orNil(COUNT), null),
    pending: optional(list(COUNT, 0, 2 * MAX_WINDOW), []),
    server: required(LABEL),
  }),
  painted: table({
    ...ANSWER,
    index: required(COUNT),
    pts: required(PTS),
    epoch: required(COUNT),
    provenance: required(PROVENANCE),
    keyframe: optional(flag, false),
    parts: required(list(PART, 1, 1 + MAPS.length)),
    coded_keyframe: optional(flag, true),
    holes: optional(SHARE, 0),
    painted_pixels: optional(COUNT, 0),
    confidence: optional(SHARE, 0),
    tags: optional(list(NAME, 0, MAX_TAGS), []),
    delay_ms: optional(FROM_ZERO, 0),
    stages_ms: optional(dictionary(NAME, FROM_ZERO, STAGES), {}),
  }),
  dropped: table({
    ...ANSWER,
    index: required(COUNT),
    pts: required(PTS),
    stage: required(NAME),
    reason: required(CODE),
  }),
  credit: table({ ...SESSION, frames: required(integer(0, MAX_WINDOW)) }),
  updated: table({
    ...ANSWER,
    request: required(COUNT),
    epoch: optional(orNil(COUNT), null),
    shown_at: optional(orNil(COUNT), null),
  }),
  flushed: table({ ...ANSWER, request: required(COUNT) }),
  watching: table({
    ...SESSION,
    id: required(NAME),
    client: required(LABEL),
    painter: required(NAME),
    flow: required(NAME),
    pacing: required(PACING),
    looks: required(list(NAME)),
    brief: required(BRIEF),
    rate: RATE,
    time_base: optional(RATIO, [1, 1000]),
    sample_aspect: optional(RATIO, [1, 1]),
    width: required(SIDE),
    height: required(SIDE),
    may_steer: optional(flag, true),
    holding: optional(flag, false),
    epoch: required(COUNT),
  }),
  seen: table({
    ...SESSION,
    seq: required(POSITIVE),
    index: required(COUNT),
    pts: required(PTS),
    epoch: required(COUNT),
    provenance: required(PROVENANCE),
    keyframe: optional(flag, false),
    parts: required(list(SEEN_PART, 0, VIEWS.length + MAPS.length)),
    holes: optional(SHARE, 0),
    painted_pixels: optional(COUNT, 0),
    confidence: optional(SHARE, 0),
    delay_ms: optional(FROM_ZERO, 0),
    stages_ms: optional(dictionary(NAME, FROM_ZERO, STAGES), {}),
  }),
  closed: table({
    ...ANSWER,
    reason: required(oneOf('asked', 'shutting_down', 'client_gone', 'failed', 'moved')),
    totals: required(TOTALS),
  }),
  notice: table({ ...SESSION, code: required(CODE), message: required(TEXT) }),
  ping: table(NONCE),
  pong: table(NONCE),
  status: table({
    server: required(LABEL),
    pid: required(COUNT),
    uptime_s: required(FROM_ZERO),
    resident_bytes: required(COUNT),
    engines: required(list(ENGINE_STATUS)),
    sessions: required(list(SESSION_STATUS)),
  }),
  error: table({
    session: optional(orNil(integer(0, MAX_SESSION)), null),
    index: optional(orNil(COUNT), null),
    request: optional(orNil(COUNT), null),
    seq: optional(orNil(COUNT), null),
    code: required(CODE),
    retry: required(oneOf('no', 'changed', 'later')),
    message: required(TEXT),
  }),
});
