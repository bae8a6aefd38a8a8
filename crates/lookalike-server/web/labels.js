// Labels that neighbours suggest: where they disagree with an image's own, which may be a mistake,
// and for images that have none. Nothing is changed from here.

import { address, noteContent } from './api.js';
import { el, percent, plural, whole } from './dom.js';
import { newSearch, searchPath } from './state.js';
import { field, page } from './tidy.js';
import { isSmall, nameOf, tile, tileList } from './tiles.js';

const DEFAULT_LIMIT = 40;
const KINDS = { mistakes: 'suspected mistakes', suggestions: 'images without a label' };

export function mount(host, { signal }) {
  const kind = el('select', { id: 'kind', name: 'kind' }, Object.entries(KINDS).map(([value, text]) => el('option', { value, text })));
  const limit = el('input', { type: 'number', id: 'limit', name: 'limit', min: 1, max: 1000, required: true });
  return page(host, signal, {
    title: 'Labels',
    words: 'Labels that neighbours suggest: where they disagree with an image\'s own, which may be a mistake, and for images without one. A click shows the neighbours. Nothing is changed here.',
    path: '/labels',
    api: () => `/labels/${kind.value}`,
    doing: 'Asking the neighbours',
    form: el('form', { class: 'options' }, field('kind', 'Show', kind), field('limit', 'How many', limit)),
    ask(parameters) {
      kind.value = KINDS[parameters.get('kind')] ? parameters.get('kind') : 'mistakes';
      limit.value = Number.parseInt(parameters.get('limit'), 10) || DEFAULT_LIMIT;
      return { limit: limit.value };
    },
    show(found) {
      const list = tileList({ id: kind.value, 'aria-label': `${kind.value === 'mistakes' ? 'Suspected mistakes' : 'Suggested labels'}, the most confident first` });
      list.append(...found[kind.value].map(suggestion));
      return [summary(found, kind.value), [list]];
    },
  });
}

function summary(found, kind) {
  const { points, labelled, labels, agreement, calibrated, stale } = found;
  const [count, one] = kind === 'mistakes' ? [found.mistake_count, 'suspected mistake'] : [found.suggestion_count, 'suggested label'];
  const parts = [`${count ? plural(count, one) : `No ${one}s`} among ${plural(points, 'image')}, ${whole(labelled)} of them with one of ${plural(labels, 'label')}`];
  if (agreement !== null) parts.push(`neighbours confirm ${percent(agreement)} of the labels`);
  if (!calibrated) parts.push('with so few labels, confidences are mere shares of the votes');
  if (found[kind].length < count) parts.push(`the first ${found[kind].length} are shown`);
  if (stale) parts.push('images have changed since');
  return `${parts.join('; ')}.`;
}

function suggestion({ image, suggested, confidence, because_of: because }) {
  return tile(image, {}, el('div', { class: 'caption' },
    el('b', { text: `${image.label ?? '–'} → ${suggested}`, title: 'Its label, and what the neighbours suggest' }),
    el('span', { class: 'distance', title: 'How likely the suggestion is right', text: percent(Math.round(confidence * 100) / 100) }),
    because && nearest(image, because, suggested),
    el('span', { class: 'place', title: image.location, text: image.key })));
}

/** The nearest image with the suggested label leads to why the two are alike. */
function nearest(image, because, suggested) {
  noteContent(because);
  const href = searchPath(newSearch({ q: { id: image.id }, why: because.id }));
  return el('a', { class: 'because', href, title: `Why it is like ${nameOf(because)}` },
    el('img', { class: isSmall(because) ? 'pixels' : '', src: address.thumbnail(because.id), alt: '', loading: 'lazy', decoding: 'async', width: because.width, height: because.height }),
    el('span', { text: `like ${suggested}` }));
}
