// Pictures unlike the rest: broken, misplaced or rare.

import { getPatiently } from './api.js';
import { el, plural, short } from './dom.js';
import { waiting } from './progress.js';
import { go } from './state.js';
import { tile, tileList } from './tiles.js';

const USUAL_COUNT = 40;

const BY = { both: 'both', neighbours: 'far from all others', reconstruction: 'poorly rebuilt by the model' };

export function mount(host, { signal }) {
  const status = el('p', { id: 'status', role: 'status' });
  const shown = el('div', {});
  const form = options();
  let leave = new AbortController();
  signal.addEventListener('abort', () => leave.abort());
  host.append(
    el('div', { class: 'intro' }, el('h1', { text: 'Outliers' }),
      el('p', { class: 'faint', text: 'Pictures unlike all others, the oddest first: broken, misplaced or rare ones. Nothing is deleted here.' }),
      form.node, status), shown);

  return {
    async update(url) {
      leave.abort();
      leave = new AbortController();
      const by = BY[url.searchParams.get('by')] ? url.searchParams.get('by') : 'both';
      const count = Number.parseInt(url.searchParams.get('count') ?? USUAL_COUNT, 10) || USUAL_COUNT;
      form.set(by, count);
      const progress = waiting('Looking for outliers');
      shown.replaceChildren(progress.node);
      status.textContent = '';
      try {
        const found = await getPatiently('/outliers', { by, count }, leave.signal, progress.tell);
        status.textContent = sentence(found);
        const list = tileList({ 'aria-label': 'Outliers, the oddest first' });
        list.append(...found.outliers.map(outlier));
        shown.replaceChildren(list);
      } catch (error) {
        if (error.name === 'AbortError') return;
        shown.replaceChildren();
        status.textContent = error.message;
      }
    },
  };
}

function options() {
  const by = el('select', { id: 'by' }, Object.entries(BY).map(([value, text]) => el('option', { value, text })));
  const count = el('input', { type: 'number', id: 'count', min: 1, max: 1000, step: 1, required: true });
  const changed = () => {
    if (count.checkValidity()) go(`/outliers?${new URLSearchParams({ by: by.value, count: count.value })}`);
  };
  const node = el('form', { class: 'options', on: { change: changed, submit: (event) => event.preventDefault() } },
    el('label', { for: 'by' }, el('span', { text: 'Odd means' }), by),
    el('label', { for: 'count' }, el('span', { text: 'How many' }), count));
  return {
    node,
    set(chosen, number) {
      by.value = chosen;
      count.value = number;
    },
  };
}

function sentence({ points, outliers, usual_distance: distance, usual_error: error }) {
  const usual = [];
  if (typeof distance === 'number') usual.push(`the usual distance to the neighbours is ${short(distance)}`);
  if (typeof error === 'number') usual.push(`the usual error of the rebuilt picture ${short(error)}`);
  return `The ${outliers.length} oddest of ${plural(points, 'image')}${usual.length ? `; ${usual.join(', ')}` : ''}.`;
}

function outlier({ image, score, distance, error }) {
  const figures = [];
  if (typeof distance === 'number') figures.push(`distance ${short(distance)}`);
  if (typeof error === 'number') figures.push(`error ${short(error)}`);
  return tile(image, {}, el('div', { class: 'caption' },
    el('b', { text: short(score), title: 'How odd it is' }), image.label !== undefined && el('span', { text: image.label }),
    el('span', { class: 'place', text: figures.join(' · ') }), el('span', { class: 'place', title: image.location ?? image.key, text: image.key })));
}
