/** The last minute in bins: so much as a small plot can show, however many frames there were. */

export const BIN_MS = 500;
export const BINS = 120;

/**
 * One bin: how often it was added to, and the sums by name.
 *
 * @typedef {{number: number, count: number, sums: Record<string, number>}} Bin
 */

/** Sums in bins of half a second, the newest last. */
export class History {
  /** @type {Bin[]} */ #bins = [];

  /** Adds values, by name, at a time of performance.now(). @param {Record<string, number>} values */
  add(values, now_ms) {
    const number = Math.floor(now_ms / BIN_MS);
    let bin = this.#bins.at(-1);
    if (bin?.number !== number) {
      bin = { number, count: 0, sums: {} };
      this.#bins.push(bin);
      if (this.#bins.length > BINS) this.#bins.shift();
    }
    bin.count += 1;
    for (const [name, value] of Object.entries(values)) bin.sums[name] = (bin.sums[name] ?? 0) + value;
  }

  /** The bins of the last minute, each with its age in bins, 0 being the one that is being filled. */
  bins(now_ms) {
    const newest = Math.floor(now_ms / BIN_MS);
    return this.#bins.map((bin) => ({ ...bin, age: newest - bin.number })).filter(({ age }) => age < BINS);
  }

  /** The mean of a value over the newest bins, or null if there was none. @param {number} over bins */
  mean(name, now_ms, over = 4) {
    const newest = this.bins(now_ms).filter(({ age }) => age < over);
    const count = newest.reduce((sum, bin) => sum + bin.count, 0);
    return count ? newest.reduce((sum, bin) => sum + (bin.sums[name] ?? 0), 0) / count : null;
  }

  /** The sum of each value over the last minute. @returns {Record<string, number>} */
  totals(now_ms) {
    const totals = {};
    for (const { sums } of this.bins(now_ms)) {
      for (const [name, value] of Object.entries(sums)) totals[name] = (totals[name] ?? 0) + value;
    }
    return totals;
  }

  /** Forgets everything. */
  clear() {
    this.#bins = [];
  }
}
