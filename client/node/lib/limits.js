/** The limits of the wire, as SPEC.md lists them. A message past one of them is refused before it is read further. */

export const MAX_INTEGER = Number.MAX_SAFE_INTEGER;
export const MAX_HEADER_BYTES = 65_536;
export const MAX_NESTING = 16;
export const MAX_SIDE = 16_384;
export const MAX_PICTURE_PIXELS = 67_108_864;
export const MAX_PAYLOAD_BYTES = 268_435_456;
export const MAX_PAYLOADS = 6;
export const MAX_TEXT = 4_096;
export const MAX_LORAS = 8;
export const MAX_CONTROLS = 4;
export const MAX_BLOCKED_TAGS = 256;
export const MAX_TAGS = 128;
export const MAX_NAME = 200;
export const MAX_SESSION = 2_147_483_647;
export const MAX_WINDOW = 1_024;
export const MAX_WATCH_WINDOW = 16;
export const MAX_RATE = 1_000;
export const MAX_DELAY_MS = 60_000;
export const MAX_LINGER_S = 86_400;
export const MAX_REQUESTS = 60;
export const MAX_STATUS_SESSIONS = 96;
