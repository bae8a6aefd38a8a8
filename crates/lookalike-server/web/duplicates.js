// Copies and near copies, in groups. Nothing is deleted from here.

import { getPatiently } from './api.js';
import { el, plural, short } from './dom.js';
import { waiting } from './progress.js';
import { go, newSearch, readNumber, searchPath } from './state.js';
import { tile, tileList } from './tiles.js';

/** Groups that are shown; more are too many to look through. */
const MOST = 200;

const KINDS = { representative: 'largest', exact: 'same content', near: 'near copy', 'same-file': 'same file' };

export function mount(host, { signal }) {
  const status = el('p', { id: 'status', role: 'status' });
  const groups = el('div', { class: 'groups' });
  const form = options();
  let leave = new AbortController();
  signal.addEventListener('abort', () => leave.abort());
  host.append(
    el('div', { class: 'intro' }, el('h1', { text: 'Duplicates' }),
      el('p', { class: 'faint', text: 'Files with the same content, and pictures much nearer to each other than their surroundings lead to expect. Nothing is deleted here.' }),
      form.node, status), groups);

  return {
    async update(url) {
      leave.abort();
      leave = new AbortController();
      const threshold = readNumber(url.searchParams.get('threshold'));
      const exact = url.searchParams.get('exact') === '1';
      form.set(threshold, exact);
      const progress = waiting('Comparing images');
      groups.replaceChildren(progress.node);
      status.textContent = '';
      try {
        const found = await getPatiently('/duplicates', { threshold, exact_only: exact || null, limit: MOST }, leave.signal, progress.tell);
        status.textContent = sentence(found, exact);
        form.found(found.threshold);
        groups.replaceChildren(...found.groups.map(group));
      } catch (error) {
        if (error.name === 'AbortError') return;
        groups.replaceChildren();
        status.textContent = error.message;
      }
    },
  };
}

/** How near is a copy; an empty field leaves it to the collection. */
function options() {
  const threshold = el('input', { type: 'number', id: 'near', min: 0, step: 'any', inputmode: 'decimal' });
  const exact = el('input', { type: 'checkbox', role: 'switch', id: 'exact' });
  const changed = () => {
    const parameters = new URLSearchParams();
    if (threshold.value !== '') parameters.set('threshold', threshold.value);
    if (exact.checked) parameters.set('exact', '1');
    go(parameters.size ? `/duplicates?${parameters}` : '/duplicates');
  };
  const node = el('form', { class: 'options', on: { change: changed, submit: (event) => event.preventDefault() } },
    el('label', { for: 'near' }, el('span', { text: 'Near copies within a distance of' }), threshold),
    el('label', { class: 'inline', for: 'exact' }, el('span', { text: 'Same content only' }), exact));
  return {
    node,
    set(value, isExact) {
      threshold.value = value ?? '';
      threshold.disabled = isExact;
      exact.checked = isExact;
    },
    found: (value) => (threshold.placeholder = typeof value === 'number' ? `${short(value)}, by itself` : 'none'),
  };
}

function sentence({ points, group_count: count, exact, near, left_alone: alone, groups, threshold }, isExact) {
  if (!count) return isExact || threshold !== null ? `No duplicates among ${plural(points, 'image')}.` : `No near duplicates stand out among ${plural(points, 'image')}.`;
  const parts = [`${plural(count, 'group')} among ${plural(points, 'image')}`, `${plural(exact, 'copy', 'copies')} of the same content`];
  if (!isExact) parts.push(plural(near, 'near copy', 'near copies'));
  if (alone) parts.push(`${plural(alone, 'picture')} left alone, being like too many others`);
  if (groups.length < count) parts.push(`the first ${groups.length} groups are shown`);
  return `${parts.join(', ')}.`;
}

function group({ members }) {
  const list = tileList({});
  const first = members[0].image;
  list.append(...members.map(({ image, kind, distance }) => tile(image, {},
    el('div', { class: 'caption' }, el('b', { text: KINDS[kind] ?? kind }), kind === 'near' && compare(first, image, distance),
      el('span', { class: 'place', title: image.location ?? image.key, text: image.key })))));
  return el('section', { class: 'group', 'aria-label': `Group of ${members.length}` }, list);
}

/** The distance leads to why the two are alike. */
function compare(first, image, distance) {
  const href = searchPath(newSearch({ q: { id: first.id }, why: image.id }));
  return el('a', { class: 'distance', href, title: 'Why they are alike', text: short(distance) });
}
