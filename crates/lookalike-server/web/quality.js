// Pictures with something wrong, fault by fault, and how what they are judged by is distributed.
// Nothing is deleted from here.

import { el, plural, short, whole } from './dom.js';
import { histogram } from './histogram.js';
import { field, page } from './tidy.js';
import { tile, tileList } from './tiles.js';

const DEFAULT_LIMIT = 24;

/** Each fault: its name and what it means. */
const FAULTS = {
  blank: ['Blank', 'Nothing but one colour.'],
  uniform: ['Nearly uniform', 'Hardly any contrast.'],
  'half-decoded': ['Half-decoded', 'The lower part is missing: the grey of missing data, or one colour where that is rare here.'],
  dark: ['Dark', 'Much darker than the others.'],
  bright: ['Bright', 'Much brighter than the others.'],
  blurred: ['Blurred', 'Much less sharp than the others, at the size at which images are read.'],
  'low-information': ['Low information', 'Few different greys.'],
  grey: ['Nearly grey', 'Hardly any colour, in a collection in colour.'],
  'odd-proportions': ['Odd proportions', 'Much longer in one direction than in the other.'],
  tiny: ['Tiny', 'Very few pixels.'],
};
/** What measures are called. */
const MEASURES = { flat_bottom: 'share of flat rows at the bottom', elongation: 'longer side by shorter side', side: 'side of a square of as many pixels' };

export function mount(host, { signal }) {
  const limit = el('input', { type: 'number', id: 'limit', name: 'limit', min: 1, max: 1000, required: true });
  const one = el('select', { id: 'fault', name: 'fault' }, el('option', { value: '', text: 'all' }),
    Object.entries(FAULTS).map(([value, [text]]) => el('option', { value, text })));
  return page(host, signal, {
    title: 'Quality',
    words: 'Pictures with something wrong, judged by what is usual in this gallery. Nothing is deleted here.',
    path: '/quality',
    api: '/check',
    doing: 'Checking images',
    form: el('form', { class: 'options' }, field('fault', 'Fault', one), field('limit', 'Pictures of each', limit)),
    ask(parameters) {
      one.value = FAULTS[parameters.get('fault')] ? parameters.get('fault') : '';
      limit.value = Number.parseInt(parameters.get('limit'), 10) || DEFAULT_LIMIT;
      return { fault: one.value || null, limit: limit.value };
    },
    show(found) {
      const order = [...found.findings].sort((a, b) => Number(b.count > 0) - Number(a.count > 0));
      return [summary(found), order.map(fault)];
    },
  });
}

function summary({ points, faulty, unmeasured, stale }) {
  const parts = [`${faulty ? plural(faulty, 'image') : 'None'} of ${whole(points)} ${faulty === 1 ? 'has' : 'have'} something wrong`];
  if (unmeasured) parts.push(`${plural(unmeasured, 'image')} judged by size alone, indexed before images were measured: index again with --reread`);
  if (stale) parts.push('images have changed since');
  return `${parts.join('; ')}.`;
}

function fault({ fault: kind, measure, side, threshold, median, count, histogram: { edges, counts }, images }) {
  const [title, words] = FAULTS[kind] ?? [kind, ''];
  const name = MEASURES[measure] ?? measure;
  const rule = threshold === null ? `No ${name} would be a fault here.` : `Wrong ${side} a ${name} of ${short(threshold)}.`;
  const usual = median === null ? '' : ` Usual: ${short(median)}.`;
  const list = tileList({ 'aria-label': `${title}, the worst first` });
  list.append(...images.map((found) => faulty(found, kind)));
  return el('section', { class: 'fault', data: { fault: kind }, 'aria-label': title },
    el('header', {},
      el('div', {}, el('h2', {}, el('span', { text: title }), el('small', { text: whole(count) })),
        el('p', { class: 'faint', text: `${words} ${rule}${usual}` })),
      histogram({ edges, counts, threshold, side, name })),
    images.length > 0 && list,
    count > images.length && images.length > 0 && el('p', { class: 'faint', text: `The ${images.length} worst of ${whole(count)} are shown.` }));
}

function faulty({ image, value, faults }, kind) {
  const others = faults.filter((other) => other !== kind).map((other) => FAULTS[other]?.[0] ?? other);
  return tile(image, {}, el('div', { class: 'caption' },
    el('b', { text: short(value) }), el('span', { text: image.label ?? '' }),
    others.length > 0 && el('span', { class: 'place', text: `also ${others.join(', ').toLowerCase()}` }),
    el('span', { class: 'place', title: image.location, text: image.key })));
}
