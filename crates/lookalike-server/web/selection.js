// What is selected on the map: the images, and what to do with them.

import { address } from './api.js';
import { button, el, plural, toast } from './dom.js';
import { go, newSearch, searchPath } from './state.js';
import { searchWithImage } from './tiles.js';

/** Pictures shown, and examples searched with, at most. */
const SHOWN = 150;
const MAX_EXAMPLES = 16;

/**
 * The panel. `clear` is called to select nothing, `all` to select what is seen; `filter` says among
 * which images is searched.
 */
export function selectionPanel(cloud, { clear, all, filter }) {
  const title = el('h2', {});
  const list = el('ul', { class: 'mini' });
  const rest = el('p', { class: 'faint' });
  const search = button({ text: 'Search with these', icon: 'search', class: 'button strong', click: () => searchWithThese(cloud, panel.points, filter()) });
  const copy = button({ text: 'Copy ids', click: () => copyIds(cloud, panel.points) });
  const node = el('aside', { class: 'selection', 'aria-label': 'Selected images', hidden: true },
    el('div', { class: 'row between' }, title, button({ icon: 'close', label: 'Select nothing', class: 'bare', click: clear })),
    el('div', { class: 'row wrap' }, search, copy, button({ text: 'Select all in view', click: all })), list, rest);
  const panel = {
    node,
    points: [],
    show(points) {
      panel.points = points;
      node.hidden = !points.length;
      title.textContent = `${plural(points.length, 'image')} selected`;
      list.replaceChildren(...points.slice(0, SHOWN).map((point) => miniature(cloud.id(point))));
      rest.textContent = points.length > SHOWN ? `… and ${plural(points.length - SHOWN, 'more', 'more')}` : '';
    },
  };
  return panel;
}

function miniature(id) {
  return el('li', {}, el('a', { href: searchWithImage(id) },
    el('img', { src: address.thumbnail(id), alt: 'Search with this image', loading: 'lazy', width: 48, height: 48, class: 'pixels' })));
}

function searchWithThese(cloud, points, filter) {
  const some = evenly(points, MAX_EXAMPLES);
  if (some.length < points.length) toast(`Searching with ${some.length} of them, taken evenly.`);
  go(searchPath(newSearch({ like: some.map((point) => ({ id: cloud.id(point) })), filter })));
}

const evenly = (points, most) =>
  points.length <= most ? points : Array.from({ length: most }, (_, i) => points[Math.floor((i * points.length) / most)]);

async function copyIds(cloud, points) {
  try {
    await navigator.clipboard.writeText(points.map((point) => cloud.id(point)).join('\n'));
    toast(`Copied ${plural(points.length, 'id')}.`);
  } catch {
    toast('The browser does not let this page copy. Allow it, or open the page by https or at localhost.', { error: true });
  }
}
