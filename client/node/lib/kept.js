/** Lists that keep the newest of what is told: nobody need ever look at them, and they do not grow for ever. */

// Records of dropped frames that are kept. All are counted.
export const MAX_DROPS = 1_000;
// Notices that are kept.
export const MAX_NOTICES = 100;

/**
 * Adds to a list of the newest few.
 *
 * @template T
 * @param {T[]} list @param {T} item @param {number} most
 */
export function keep(list, item, most) {
  list.push(item);
  if (list.length > most) list.shift();
}
