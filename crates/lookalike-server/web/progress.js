// What is shown while the server works on something that takes long.

import { sentence } from './api.js';
import { el, whole } from './dom.js';

/** A bar and a sentence; `tell` takes the body of a 202 answer, `fail` what went wrong. */
export function waiting(text) {
  const words = el('p', { role: 'status', text: `${text}…` });
  const bar = el('progress', { 'aria-label': text });
  return {
    node: el('div', { class: 'waiting' }, bar, words),
    tell({ doing, done, of }) {
      if (of) Object.assign(bar, { max: of, value: done });
      words.textContent = sentence(of ? `${doing}: ${whole(done)} of ${whole(of)}` : `${doing}…`);
    },
    fail(error) {
      bar.remove();
      words.textContent = error.message;
    },
  };
}
