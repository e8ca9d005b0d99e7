/** The panel of controls: made of what the server says there is, and filled from what the session has. */

import { button, make, say } from './dom.js';
import { Field } from './fields.js';

const LARGEST_SEED = 2 ** 32;
const MAY_NOT = 'This session can be watched, but not steered: its daemon is set up so.';
const NOBODY = 'These are for a session: none is being watched.';

/** The controls of the session that is watched. */
export class Controls {
  #root;
  #view;
  #fields = new Map();
  #reason = make('p', { class: 'reason', hidden: true });
  #set = make('fieldset', { class: 'controls', disabled: true });
  #looks = '';

  /** @param {HTMLElement} root @param {import('./view.js').View} view */
  constructor(root, view) {
    this.#root = root;
    this.#view = view;
  }

  /** Whether there is something to turn. */
  get built() {
    return this.#fields.size > 0;
  }

  /** Makes the controls. @param {import('./fields.js').Control[]} controls */
  build(controls) {
    const groups = Map.groupBy ? Map.groupBy(controls, ({ group }) => group) : groupedBy(controls);
    this.#set.append(make('legend', { class: 'away', text: 'Controls' }));
    for (const [title, members] of groups) this.#set.append(this.#group(title, members));
    this.#root.replaceChildren(this.#reason, this.#set);
    this.unwatched();
  }

  /** Shows what the session has. @param {any} watching */
  watching({ brief, looks, may_steer: maySteer }) {
    const offered = JSON.stringify(looks);
    if (offered !== this.#looks) {
      this.#looks = offered;
      this.#fields.get('look')?.offer(looks);
    }
    for (const [name, field] of this.#fields) if (name in brief) field.show(brief[name]);
    this.#allow(maySteer, MAY_NOT);
  }

  /** There is no session. */
  unwatched() {
    this.#allow(false, NOBODY);
  }

  #allow(may, reason) {
    this.#set.disabled = !may;
    this.#reason.hidden = may;
    say(this.#reason, may ? '' : reason);
  }

  #group(title, members) {
    const common = members.filter((each) => each.common);
    const others = members.filter((each) => !each.common);
    const section = make('section', { class: 'group', 'aria-label': title }, make('h2', { text: title }));
    section.append(...common.map((each) => this.#field(each)));
    if (others.length === 0) return section;
    const summary = make('summary', { text: common.length ? `More (${others.length})` : `All (${others.length})` });
    section.append(make('details', { class: 'more' }, summary, ...others.map((each) => this.#field(each))));
    return section;
  }

  #field(control) {
    const field = new Field(control, (value, asker) => this.#view.update({ [control.name]: value }, asker));
    this.#fields.set(control.name, field);
    if (control.name === 'seed') field.add(this.#dice(field));
    return field.element;
  }

  #dice(field) {
    return button('New seed', {
      icon: 'dice', class: 'button small', title: 'A new random seed',
      on: { click: () => field.choose(Math.floor(Math.random() * LARGEST_SEED)) },
    });
  }
}

function groupedBy(controls) {
  const groups = new Map();
  for (const each of controls) groups.set(each.group, [...(groups.get(each.group) ?? []), each]);
  return groups;
}
