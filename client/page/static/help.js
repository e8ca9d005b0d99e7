/** The keys, and the overlay that says which there are. */

import { button, byId, make } from './dom.js';

const REST = 'The divider and every slider are moved by the arrow keys too. In a prompt, Ctrl+Enter applies it at '
  + 'once, and Escape takes it back.';

/** @typedef {{key: string, shown?: string, does: string, act: () => void}} Binding */

/** Listens to keys, unless somebody types. @param {Binding[]} bindings */
export function listenToKeys(bindings) {
  const all = [...bindings, { key: '?', does: 'this help', act: toggleHelp }];
  fillHelp(all);
  byId('help-button').addEventListener('click', toggleHelp);
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || takes(event)) return;
    if (document.querySelector('dialog[open]') && event.key !== '?') return;
    const binding = all.find(({ key }) => key === event.key);
    if (binding === undefined) return;
    event.preventDefault();
    binding.act();
  });
}

/** Whether the element that has the focus wants the key for itself. */
function takes({ target, key }) {
  if (!(target instanceof Element)) return false;
  if (target.matches('textarea, select, input:not([type=checkbox], [type=radio], [type=range])')) return true;
  return key === ' ' && target.matches('button, input, summary, a');
}

function toggleHelp() {
  const dialog = byId('help-dialog');
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

function fillHelp(bindings) {
  const dialog = byId('help-dialog');
  const rows = bindings.map(({ key, shown = key, does }) => make('div', { class: 'key-row' },
    make('dt', {}, make('kbd', { text: shown })), make('dd', { text: does })));
  const close = button('Close', { icon: 'close', class: 'button' });
  close.addEventListener('click', () => dialog.close());
  dialog.append(
    make('h2', { id: 'help-title', text: 'Keys' }),
    make('dl', { class: 'keys' }, ...rows),
    make('p', { class: 'hint', text: REST }),
    make('div', { class: 'dialog-buttons' }, close),
  );
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
}
