// The page without a query: a place to drop a picture, and some of the gallery to try.

import { get } from './api.js';
import { pagePath } from './base.js';
import { complain, el, icon, nameOfGallery, plural } from './dom.js';
import { waysIn } from './intake.js';
import { savedSearches } from './saved.js';
import { tile, tileList } from './tiles.js';

/** Images to try. */
const TRIED = 36;

export function mount(host, { facts, signal }) {
  const tries = tileList({ class: 'some', 'aria-labelledby': 'try' });
  const saved = savedSearches(signal);
  host.append(
    el('section', { class: 'hero' },
      el('h1', { text: 'What looks like this?' }),
      el('div', { id: 'drop' },
        icon('picture'),
        el('p', {}, el('span', { class: 'fine-only', text: 'Drop a picture here, or anywhere on the page. Or paste it.' }),
          el('span', { class: 'touch-only', text: 'Choose a picture, or take one.' })),
        waysIn()),
      el('p', { class: 'faint', text: `Compared with ${plural(facts.gallery.points, 'image')} of ${nameOfGallery(facts)}, by what a network learnt from images like these.` })),
    saved,
    el('section', { class: 'try' }, el('h2', { id: 'try', text: 'Or begin with one of these' }), tries));
  fill(tries, facts, signal).catch(complain);
}

async function fill(tries, facts, signal) {
  const { images } = await get('/images', { limit: TRIED }, signal);
  const example = facts.example && !images.some(({ id }) => id === facts.example) && (await exampleOf(facts, signal));
  const shown = example ? [example, ...images.slice(1)] : images;
  tries.append(...shown.map((image) => tile(image)));
  if (!shown.length) {
    tries.replaceWith(el('p', {}, 'The gallery is empty so far. ', el('a', { href: pagePath('/gallery'), text: 'Add some images' }), '.'));
  }
}

/** The example may have been deleted since; then there is none. */
async function exampleOf(facts, signal) {
  return get(`/images/${facts.example}`, {}, signal).catch(() => null);
}
