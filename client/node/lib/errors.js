/**
 * What a caller may have to handle.
 *
 *     WarpaintError
 *     ├── ProtocolError            bytes or fields that are no message; `code` is what it is answered with
 *     │   ├── MalformedMessage     not a MessagePack map, or cut short
 *     │   ├── UnsupportedVersion   a version of the protocol that is not spoken here
 *     │   ├── UnknownMessage       a `type` that is not known
 *     │   ├── InvalidMessage       a field that is missing or out of its range
 *     │   └── TooLarge             past one of the limits
 *     ├── RefusedError             the daemon refused a request; `code`, and `retry`: "no", "changed" or "later"
 *     │   └── FrameFailed          one frame could not be painted; `index`. The session goes on
 *     └── DaemonGone               the daemon does not answer or come back, or the session has ended
 */

/** Codes, and what to do after each: SPEC.md, "Errors". */
export const RETRY = Object.freeze({
  bad_message: 'no',
  unsupported_version: 'no',
  unknown_type: 'no',
  invalid_field: 'changed',
  too_large: 'changed',
  no_session: 'changed',
  session_exists: 'changed',
  too_many_sessions: 'later',
  unknown_token: 'changed',
  overloaded: 'changed',
  unknown_engine: 'changed',
  bad_brief: 'changed',
  unsupported: 'changed',
  bad_payload: 'changed',
  bad_frame: 'changed',
  bad_index: 'changed',
  window_overrun: 'later',
  superseded: 'no',
  late: 'no',
  slow_reader: 'no',
  lost: 'no',
  painter_failed: 'later',
  painter_timeout: 'later',
  resource_exhausted: 'changed',
  prompt_cut: 'changed',
  no_still: 'changed',
  flow_failed: 'later',
  encoder_failed: 'later',
  cancelled: 'later',
  shutting_down: 'later',
  internal: 'later',
});

/** The root of all errors that are raised here on purpose. */
export class WarpaintError extends Error {
  get name() {
    return this.constructor.name;
  }
}

/** Bytes or fields that are no message of this protocol. */
export class ProtocolError extends WarpaintError {
  code = 'bad_message';

  get retry() {
    return RETRY[this.code];
  }
}

/** Not a MessagePack map, or cut short. */
export class MalformedMessage extends ProtocolError {}

/** A version of the protocol that is not spoken here. */
export class UnsupportedVersion extends ProtocolError {
  code = 'unsupported_version';
}

/** A `type` that is not known. */
export class UnknownMessage extends ProtocolError {
  code = 'unknown_type';
}

/** A field that is missing, of the wrong type, or out of its range. */
export class InvalidMessage extends ProtocolError {
  code = 'invalid_field';
}

/** Past one of the limits. */
export class TooLarge extends ProtocolError {
  code = 'too_large';
}

/** The daemon refused a request, or would: `code` is for programs, the message for people. */
export class RefusedError extends WarpaintError {
  /** @param {string} code @param {string} message @param {string} [retry] */
  constructor(code, message, retry = RETRY[code]) {
    super(message);
    this.code = code;
    this.retry = retry;
  }
}

/** One frame could not be painted; `index` is its number. The session goes on. */
export class FrameFailed extends RefusedError {
  /** @param {string} code @param {string} message @param {string} retry @param {number} index */
  constructor(code, message, retry, index) {
    super(code, message, retry);
    this.index = index;
  }
}

/** The daemon does not answer, or the connection to it did not come back, or the session has ended. */
export class DaemonGone extends WarpaintError {}

/**
 * The exception for a message that says what could not be done.
 * @param {any} message an `error` or a `dropped`
 */
export function raisedFor(message) {
  if (message.type === 'dropped') {
    const { reason, index, stage } = message;
    return new FrameFailed(reason, `frame ${index} was dropped at ${stage}: ${reason}`, RETRY[reason], index);
  }
  if (message.index != null) return new FrameFailed(message.code, message.message, message.retry, message.index);
  return new RefusedError(message.code, message.message, message.retry);
}
