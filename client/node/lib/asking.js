/** What sessions and watchings do alike for their callers: they wait, and they ask. */

/**
 * Resolves when something may have changed.
 *
 * @param {import('./connection.js').Connection} connection
 * @param {any} conversation a Conversation or a Watching
 * @throws {DaemonGone | RefusedError} if nothing more will come
 */
export async function change(connection, conversation) {
  conversation.check();
  connection.checkAlive();
  await connection.change();
}

/**
 * Makes a request. Returns when the daemon has taken it.
 *
 * @param {import('./connection.js').Connection} connection
 * @param {any} conversation a Conversation or a Watching
 * @param {string} type @param {object} [fields]
 * @returns {Promise<{request: number, shown: Promise<any>}>}
 * @throws {RefusedError} with what is allowed
 */
export async function ask(connection, conversation, type, fields) {
  conversation.check();
  const request = conversation.ask(type, fields);
  while (!conversation.requests.updated.has(request)) {
    conversation.requests.check(request);
    await change(connection, conversation);
  }
  return { request, shown: conversation.whenShown(request) };
}
