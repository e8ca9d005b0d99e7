/** Elements, made and found. */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element with attributes and children. `on` holds listeners by event, `text` is its text; an attribute that is
 * false, null or undefined is left out, one that is true stands without a value.
 *
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | null)} children
 * @returns {any}
 */
export function make(tag, { on = {}, text, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  if (text !== undefined) element.textContent = text;
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets an attribute, or takes it away where the value is false, null or undefined. */
export function setAttribute(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? '' : value);
}

/** The element with this id, which index.html has. @param {string} id @returns {any} */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no element #${id}`);
  return element;
}

/** An icon of icons.svg, without a meaning of its own: whoever shows it has a label. @param {string} name */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** A button with an icon and a text. @returns {HTMLButtonElement} */
export function button(label, { icon: name, ...attributes } = {}) {
  const { class: classes = 'button', ...rest } = attributes;
  const caption = make('span', { text: label });
  return make('button', { type: 'button', class: classes, ...rest }, name ? icon(name) : null, caption);
}

/** Sets a text where it has changed, so that nothing is laid out, or read aloud, again for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** What a program said, as a sentence of this page: with a capital and a full stop. @param {string} text */
export function asSentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/** A button that copies a text, and says so for a moment. @param {() => string} text */
export function copyButton(text, label = 'Copy') {
  const made = button(label, { icon: 'copy', class: 'button small' });
  made.addEventListener('click', async () => {
    const caption = made.lastElementChild;
    caption.textContent = (await copied(text())) ? 'Copied' : 'Select it and copy';
    setTimeout(() => { caption.textContent = label; }, SAID_FOR_MS);
  });
  return made;
}

const SAID_FOR_MS = 1500;

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // refused by the browser: whoever asks is told
  }
}
