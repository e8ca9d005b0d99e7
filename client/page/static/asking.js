/** What is asked before a source begins: who paints it, by what flow, in which look, and what. */

import { button, byId, make } from './dom.js';

const LONGEST_PROMPT = 2_000;

/** A dialog. */
export class Asking {
  #listener;
  #dialog = byId('source-dialog');
  #wishes = { painter: null, flow: null, look: '', prompt: '' }; // of the last time

  /** @param {{engines: () => any[], looks: (painter: string | null) => string[]}} listener */
  constructor(listener) {
    this.#listener = listener;
    this.#dialog.addEventListener('click', (event) => { if (event.target === this.#dialog) this.#dialog.close(); });
  }

  /**
   * @param {string} title @param {string} detail
   * @returns {Promise<{painter: string | null, flow: string | null, brief: Record<string, any>} | null>} null: not now
   */
  ask(title, detail) {
    if (this.#dialog.open) return Promise.resolve(null);
    const engines = this.#listener.engines();
    const named = (kind) => engines.filter((each) => each.kind === kind).map(({ name }) => name);
    const painter = select('source-painter', named('painter'), this.#wishes.painter);
    const flow = select('source-flow', named('flow'), this.#wishes.flow);
    const look = make('input', {
      id: 'source-look', type: 'text', list: 'source-looks', autocomplete: 'off',
      value: this.#wishes.look, placeholder: 'the painter’s first',
    });
    const looks = make('datalist', { id: 'source-looks' });
    const prompt = make('textarea', {
      id: 'source-prompt', rows: 2, maxlength: LONGEST_PROMPT, placeholder: 'for painters that read',
    });
    prompt.value = this.#wishes.prompt;
    const offer = () => {
      const known = this.#listener.looks(painter.value || null);
      looks.replaceChildren(...known.map((value) => make('option', { value })));
    };
    painter.addEventListener('change', offer);
    offer();
    const start = button('Start', { icon: 'play', type: 'submit', class: 'button primary' });
    const cancel = button('Cancel', { on: { click: () => this.#dialog.close() } });
    const form = make('form', { method: 'dialog' },
      make('h2', { id: 'source-title', text: title }), make('p', { class: 'hint', text: detail }),
      row('Painter', painter), row('Flow', flow), row('Look', look), looks, row('Prompt', prompt),
      make('div', { class: 'dialog-buttons' }, cancel, start));
    this.#dialog.replaceChildren(form);
    this.#dialog.returnValue = '';
    this.#dialog.showModal();
    start.focus();
    return this.#answer(form, () => this.#read(painter, flow, look, prompt));
  }

  #answer(form, read) {
    return new Promise((resolve) => {
      let wishes = null;
      form.addEventListener('submit', () => { wishes = read(); });
      this.#dialog.addEventListener('close', () => resolve(wishes), { once: true });
    });
  }

  #read(painter, flow, look, prompt) {
    this.#wishes = {
      painter: painter.value || null,
      flow: flow.value || null,
      look: look.value.trim(),
      prompt: prompt.value,
    };
    const brief = {};
    if (this.#wishes.look) brief.look = this.#wishes.look;
    if (this.#wishes.prompt) brief.prompt = this.#wishes.prompt;
    return { painter: this.#wishes.painter, flow: this.#wishes.flow, brief };
  }
}

function select(id, names, chosen) {
  const options = names.map((name) => make('option', { value: name, text: name }));
  if (options.length === 0) options.push(make('option', { value: '', text: 'the daemon’s first' }));
  const element = make('select', { id }, ...options);
  if (names.includes(chosen)) element.value = chosen;
  return element;
}

function row(title, element) {
  return make('div', { class: 'row' }, make('label', { for: element.id, text: title }), element);
}
