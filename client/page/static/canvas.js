/** Canvases whose pixels are the screen's, and what is drawn on them. */

/**
 * Keeps a canvas as many pixels large as the screen has there.
 *
 * @param {HTMLCanvasElement} canvas @param {() => void} changed is called after its size has changed, and it is empty
 */
export function fitted(canvas, changed) {
  const observer = new ResizeObserver(([entry]) => {
    const exact = entry.devicePixelContentBoxSize?.[0];
    const width = devicePixels(entry.contentRect.width, exact?.inlineSize);
    const height = devicePixels(entry.contentRect.height, exact?.blockSize);
    if (canvas.width === width && canvas.height === height) return;
    canvas.width = width;
    canvas.height = height;
    changed();
  });
  try {
    observer.observe(canvas, { box: 'device-pixel-content-box' });
  } catch {
    observer.observe(canvas); // a browser that knows only CSS pixels
  }
}

/** What so many CSS pixels are on the screen. exact: what the browser says; of use where it only rounds otherwise. */
function devicePixels(css, exact) {
  const computed = css * window.devicePixelRatio;
  return exact !== undefined && Math.abs(exact - computed) < 1 ? exact : Math.round(computed);
}

/**
 * The largest box of this aspect in an area, in the middle, whole pixels.
 *
 * @param {number} aspect width by height @param {{x: number, y: number, width: number, height: number}} area
 */
export function letterboxed(aspect, area) {
  const width = Math.round(Math.min(area.width, area.height * aspect));
  const height = Math.round(Math.min(area.height, area.width / aspect));
  return {
    x: area.x + Math.round((area.width - width) / 2),
    y: area.y + Math.round((area.height - height) / 2),
    width,
    height,
  };
}

/**
 * Draws one tile of a picture into a box. Without a tile of that name nothing is drawn.
 *
 * @param {CanvasRenderingContext2D} context @param {import('./presenter.js').Seen} seen @returns {boolean}
 */
export function drawTile(context, { header, sheet }, name, box) {
  const tile = header.tiles.find((each) => each.name === name);
  if (tile === undefined || box.width <= 0 || box.height <= 0) return false;
  context.drawImage(sheet, tile.x, tile.y, tile.width, tile.height, box.x, box.y, box.width, box.height);
  return true;
}

/** The colours of the page's theme. @param {string[]} names of custom properties, without their dashes */
export function themeColours(...names) {
  const style = getComputedStyle(document.documentElement);
  return names.map((name) => style.getPropertyValue(`--${name}`).trim());
}
