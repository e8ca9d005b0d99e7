/** The picture and nothing else, for a browser source: it comes back by itself, for ever, and says nothing. */

import { getStatus } from './api.js';
import { byId } from './dom.js';
import { Stage } from './stage.js';
import { Watcher } from './watcher.js';

const LOOK_EVERY_MS = 1_000;

/** @param {import('./meter.js').Meter} meter @param {URLSearchParams} query */
export async function startBare(meter, query) {
  document.documentElement.classList.add('bare');
  const stage = new Stage(byId('picture'), () => watcher.presenter.redraw());
  stage.mode = query.get('picture') === 'raw' ? 'raw' : 'painted';
  const nothing = () => stage.clear();
  const watcher = new Watcher([stage], meter, {
    watching: ({ sample_aspect: [across, down] }) => { stage.sampleAspect = across / down; },
    drawn: () => {},
    notice: (message) => meter.says(message),
    ended: (message) => { meter.says(message); nothing(); },
    lost: (message) => meter.says(message),
    trouble: (message) => meter.says(message),
  });
  await watcher.prepare();
  const look = async () => {
    if (watcher.session === null && !document.hidden) await watchOne(watcher, query.get('session'), meter);
    watcher.view.want({ pictures: stage.pictures, max_width: steady(stage.useful_width) });
    setTimeout(look, LOOK_EVERY_MS);
  };
  look();
}

/** Watches the session that was asked for, or else the newest. */
async function watchOne(watcher, asked, meter) {
  try {
    const { sessions } = await getStatus();
    const found = sessions.find(({ id }) => id === asked) ?? (asked === null ? sessions.at(-1) : undefined);
    if (found !== undefined) watcher.watch(found.id);
  } catch (error) {
    meter.says(error.message);
  }
}

// A window that is dragged larger does not begin a new stream for each pixel.
const WIDTH_STEP = 160;
const WIDEST = 3840;

/** A width in coarse steps, no smaller than this one. */
export function steady(width) {
  return Math.min(WIDEST, Math.max(WIDTH_STEP, Math.ceil(width / WIDTH_STEP) * WIDTH_STEP));
}
