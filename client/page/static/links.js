/** The addresses under which other programs show the picture. */

import { bareUrl, mjpegUrl } from './api.js';
import { byId, copyButton, make } from './dom.js';

/** Fills the section. They mean the newest session, whichever it is then: so they can be set up once. */
export function fillLinks() {
  const link = (title, hint, url) => {
    const field = make('input', {
      type: 'text', readonly: true, value: url, class: 'url', 'aria-label': `${title}: its address`,
    });
    field.addEventListener('focus', () => field.select());
    return make('div', { class: 'link', title: hint },
      make('span', { class: 'label', text: title }), make('div', { class: 'link-row' }, field, copyButton(() => url)));
  };
  byId('links').append(
    link('OBS browser source', 'The painted picture alone, on nothing; it comes back by itself.', bareUrl(null)),
    link('MJPEG', 'For VLC, OBS media sources, or an <img> of a page of your own.', mjpegUrl('latest', 'painted')),
  );
}
