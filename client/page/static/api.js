/** What the server is asked by HTTP, and where its sockets are. All URLs are relative to the page's. */

// Whatever the server has to say, it says within this, milliseconds; a still may wait for a frame.
const PATIENCE_MS = 5_000;
const STILL_PATIENCE_MS = 20_000;

/** What went wrong, in a sentence for whoever looks. */
export class ApiError extends Error {}

/**
 * @typedef {object} SessionStatus
 * @property {string} id @property {string} client @property {string} painter @property {string} flow
 * @property {string} pacing @property {number} width @property {number} height @property {boolean} connected
 * @property {number} delay_ms @property {Record<string, number>} totals
 * @property {Record<string, number>} stages_ms @property {Record<string, number>} dropped_at
 * @typedef {{server: string | null, problem: string | null, engines: any[], sessions: SessionStatus[]}} Status
 */

/** How the daemon does, and what it serves. @returns {Promise<Status>} @throws {ApiError} */
export const getStatus = () => getJson('api/status');

/** What can be turned. @returns {Promise<import('./fields.js').Control[]>} @throws {ApiError} */
export const getControls = () => getJson('api/controls');

/** A picture as it is, without loss. @returns {Promise<Blob>} @throws {ApiError} */
export async function getStill(session, picture) {
  const query = new URLSearchParams({ session, picture });
  return (await answer(`api/still?${query}`, STILL_PATIENCE_MS)).blob();
}

/** The address of a stream of pictures, for other programs. @param {string} picture 'painted' or 'raw' */
export function mjpegUrl(session, picture) {
  return new URL(`mjpeg/${encodeURIComponent(session)}?picture=${picture}`, document.baseURI).href;
}

/** The address of the picture alone, for a browser source. */
export function bareUrl(session) {
  return new URL(session === null ? '?bare' : `?bare&session=${encodeURIComponent(session)}`, document.baseURI).href;
}

/** The address of a socket. @param {Record<string, string>} [query] */
export function socketUrl(path, query = {}) {
  const url = new URL(`${path}?${new URLSearchParams(query)}`, document.baseURI);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

async function getJson(path) {
  const response = await answer(path, PATIENCE_MS);
  return response.json().catch(() => { throw new ApiError('The server of this page answers with something else.'); });
}

async function answer(path, patience_ms) {
  let response;
  try {
    response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(patience_ms) });
  } catch {
    throw new ApiError('The server of this page does not answer.');
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  throw new ApiError(said.error ?? `The server of this page answers with ${response.status}.`);
}
