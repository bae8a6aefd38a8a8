// Duplicates, outliers and samples: pages alike, whose answers may take long. Nothing is deleted
// from here.

import { getPatiently, withQuery } from './api.js';
import { pagePath } from './base.js';
import { button, el, percent, plural, short } from './dom.js';
import { waiting } from './progress.js';
import { reviewDialog } from './review.js';
import { scriptForm } from './scripts.js';
import { go, newSearch, readNumber, searchPath } from './state.js';
import { tile, tileList } from './tiles.js';

/** Groups that are shown; more are too many to look through. */
const MAX_GROUPS = 200;
const DEFAULT_COUNT = 40;

/**
 * The same where originals must be read to say which is the sharpest, and pictures of each group
 * then.
 */
const MAX_SHARP_GROUPS = 20;
const MAX_SHARP_MEMBERS = 10;

/**
 * Which copy is kept: rules in their order, in words; the first are those that apply unless others
 * are asked for.
 */
const RULES = {
  '': 'the largest',
  'sharpness,resolution,format,bytes': 'the sharpest',
  'format,resolution,bytes,oldest': 'in the best format',
  'folder,resolution,format,bytes,oldest': 'in a folder',
  oldest: 'the oldest',
  newest: 'the newest',
};

const LARGEST = 'resolution,format,bytes,oldest';
const BY_FOLDER = Object.keys(RULES).find((rules) => rules.startsWith('folder'));

/** Where pictures must be to be in one group. */
const WHERE = { '': 'anywhere', folder: 'within one folder', across: 'across two parts' };

const KINDS = { representative: 'largest', exact: 'same content', near: 'near', 'same-file': 'same file', gone: 'file is gone' };
const BY = { both: 'either', neighbours: 'far from all others', reconstruction: 'poorly rebuilt by the model' };

/**
 * A page with a heading, a form that says in the address what is wanted, and what the server finds.
 * `ask(url)` sets the form and returns the parameters, `show(found)` returns a sentence and the
 * elements. `api` is what is asked, where that is not the page's own path.
 */
export function page(host, signal, { title, words, path, api = path, doing, form, ask, show }) {
  const status = el('p', { id: 'status', role: 'status' });
  const shown = el('div', { class: 'shown' });
  const changed = () => form.checkValidity() && go(withQuery(pagePath(path), Object.fromEntries(new FormData(form))));
  form.addEventListener('change', changed);
  form.addEventListener('submit', (event) => event.preventDefault());
  host.append(el('div', { class: 'intro' }, el('h1', { text: title }), el('p', { class: 'faint', text: words }), form, status), shown);
  let leave = new AbortController();
  signal.addEventListener('abort', () => leave.abort());
  return {
    async update(url) {
      leave.abort();
      leave = new AbortController();
      const progress = waiting(doing);
      shown.replaceChildren(progress.node);
      status.textContent = '';
      try {
        const asked = ask(url.searchParams);
        const from = typeof api === 'function' ? api() : api;
        const [sentence, elements] = show(await getPatiently(from, asked, leave.signal, progress.tell));
        status.textContent = sentence;
        shown.replaceChildren(...elements);
      } catch (error) {
        if (error.name !== 'AbortError') progress.fail(error);
      }
    },
  };
}

export const field = (id, text, control) => el('label', { for: id }, el('span', { text }), control);

/** Copies and near copies, in groups. Without a threshold, pictures themselves are compared. */
export function duplicates(host, { signal }) {
  const threshold = el('input', { type: 'number', id: 'near', name: 'threshold', min: 0, step: 'any' });
  const exact = el('input', { type: 'checkbox', role: 'switch', id: 'exact', name: 'exact', value: 1 });
  const keep = el('select', { id: 'keep', name: 'keep' }, Object.entries(RULES).map(([value, text]) => el('option', { value, text })));
  const prefer = el('input', { type: 'text', id: 'prefer', name: 'prefer', placeholder: '/path/of/a/folder' });
  const one = el('input', { type: 'checkbox', role: 'switch', id: 'one', name: 'one', value: 1 });
  const turned = el('input', { type: 'checkbox', role: 'switch', id: 'turned', name: 'turned', value: 1 });
  const where = el('select', { id: 'where', name: 'where' }, Object.entries(WHERE).map(([value, text]) => el('option', { value, text })));
  const part = (id) => el('input', { type: 'text', id, name: id, placeholder: 'a source, or split=test' });
  const [first, second] = [part('part'), part('other')];
  const parts = [field('part', 'Between', first), field('other', 'and', second)];
  const folder = field('prefer', 'The folder', prefer);
  const review = reviewDialog(() => go(location.pathname + location.search, { replace: true }), signal);
  const wanted = () => ({
    threshold: readNumber(threshold.value), exact_only: exact.checked || null,
    turned: turned.checked || null, within_folder: where.value === 'folder' || null,
    across: where.value === 'across' && first.value && second.value ? `${first.value}\n${second.value}` : null,
    keep: (keep.value !== BY_FOLDER || prefer.value) && keep.value || LARGEST, prefer: keep.value === BY_FOLDER ? prefer.value : null, near: one.checked || null,
  });
  const shown = page(host, signal, {
    title: 'Duplicates',
    words: 'Files with the same content, and pictures that are nearly the same. Nothing is deleted here: what you decide is kept, and a script can deal with the rest.',
    path: '/duplicates',
    doing: 'Comparing images',
    form: el('form', { class: 'options' }, field('near', 'Near copies within a distance of', threshold), field('exact', 'Same content only', exact),
      field('turned', 'Mirrored and rotated ones too (takes longer)', turned), field('where', 'Where', where), parts,
      field('keep', 'Keep', keep), folder, field('one', 'Keep one of each group, near copies or not', one)),
    ask(parameters) {
      threshold.value = parameters.get('threshold') ?? '';
      exact.checked = parameters.get('exact') === '1';
      turned.checked = parameters.get('turned') === '1' && !exact.checked && !threshold.value;
      threshold.disabled = exact.checked || turned.checked;
      exact.disabled = turned.checked;
      turned.disabled = exact.checked || threshold.value !== '';
      where.value = WHERE[parameters.get('where')] ? parameters.get('where') : '';
      first.value = parameters.get('part') ?? '';
      second.value = parameters.get('other') ?? '';
      for (const field of parts) field.hidden = where.value !== 'across';
      keep.value = RULES[parameters.get('keep')] ? parameters.get('keep') : '';
      prefer.value = parameters.get('prefer') ?? '';
      folder.hidden = keep.value !== BY_FOLDER;
      one.checked = parameters.get('one') === '1';
      const isSharp = keep.value.startsWith('sharpness');
      return { ...wanted(), limit: isSharp ? MAX_SHARP_GROUPS : MAX_GROUPS, members: isSharp ? MAX_SHARP_MEMBERS : null };
    },
    show(found) {
      threshold.placeholder = typeof found.threshold === 'number' ? `${short(found.threshold)} (found)` : found.measure === 'pictures' ? 'pictures compared' : 'none';
      return [duplicatesFound(found, { isExact: exact.checked, isWithin: threshold.value !== '' }), [...found.groups.map((copies) => group(copies, review)), ...border(found.examples)]];
    },
  });
  host.querySelector('.intro').append(scriptForm(wanted, signal));
  return shown;
}

function duplicatesFound({ points, stale, overlap, group_count: count, exact, near, left_alone: alone, groups, threshold, measure, not_compared: skipped }, { isExact, isWithin }) {
  const byCodes = measure === 'codes' && !isWithin ? ', told by their codes alone as most have no thumbnail' : '';
  const among = `among ${plural(points, 'image')}${byCodes}`;
  const both = overlap ? ` ${overlapping(overlap)}` : '';
  if (!count) return (isExact || threshold !== null || measure === 'pictures' ? `No duplicates ${among}.` : `No near duplicates stand out ${among}.`) + both;
  const parts = [`${plural(count, 'group')} ${among}`, `${plural(exact, 'copy', 'copies')} of the same content`];
  if (!isExact) parts.push(plural(near, 'near copy', 'near copies'));
  if (alone) parts.push(`${plural(alone, 'picture')} left alone, being like too many others`);
  if (groups.length < count) parts.push(`the first ${groups.length} groups are shown`);
  if (skipped) parts.push(`${plural(skipped, 'picture')} not compared, having no thumbnail`);
  if (stale) parts.push('images have changed since');
  return `${parts.join(', ')}.${both}`;
}

/** How much of either part is in the other. */
function overlapping({ parts, points, copied }) {
  return [0, 1].map((at) => `Of ${plural(points[at], 'image')} of ${parts[at]}, ${copied[at]} ${copied[at] === 1 ? 'has' : 'have'} a copy in the other part.`).join(' ');
}

/** Pairs around the border between copies and others: what the limit means. */
function border(examples) {
  if (!examples || examples.inside.length + examples.outside.length === 0) return [];
  const side = (text, pairs) => pairs.length > 0 && el('section', { class: 'border', 'aria-label': text }, el('h2', { text }),
    el('div', { class: 'pairs' }, pairs.map(({ images, share, difference, distance }) => {
      const list = tileList({});
      list.append(...images.map((image) => tile(image, {})));
      return el('div', { class: 'example', role: 'group', 'aria-label': `A pair at ${percent(share)} of the limit` }, list,
        el('p', { class: 'faint' }, el('span', { text: `${percent(share)} of the limit, ` }), compare(images[0], images[1], difference ?? distance)));
    })));
  return [el('details', { class: 'examples', id: 'border' }, el('summary', { text: 'What the limit means: pairs around it' }),
    side('Just near enough to be copies', examples.inside), side('Just not', examples.outside))];
}

function group(found, review) {
  const { members, size, kept = [] } = found;
  const list = tileList({});
  list.append(...members.map((member) => {
    const { image, kind, distance, difference, turned } = member;
    return tile(image, {},
      el('div', { class: 'caption' }, el('b', { text: KINDS[kind] ?? kind }), kind === 'near' && compare(members[0].image, image, difference ?? distance),
        turned && el('span', { class: 'place turned', text: turned }), fate(member, kept), el('span', { class: 'place', title: image.location, text: image.key })));
  }));
  const more = size > members.length && el('p', { class: 'faint', text: `The first ${members.length} of ${plural(size, 'image')} are shown.` });
  const open = members.length > 1 && button({ text: 'Compare', class: 'button compare', click: () => review.open(found) });
  return el('div', { class: 'group', role: 'group', 'aria-label': `Group of ${size}` }, list, more, open);
}

/** What becomes of an image, and why. */
function fate({ image: { id }, decided }, kept) {
  const by = decided === undefined ? '' : ' (you decided)';
  const chosen = kept.find((one) => one.kept === id);
  if (chosen) return el('span', { class: 'place keeps', title: chosen.reason, text: `kept${by || `: ${chosen.reason}`}` });
  if (kept.some((one) => one.kept_too?.includes(id)) || decided) return el('span', { class: 'place keeps', text: `kept${by}` });
  return kept.some((one) => one.copies.includes(id)) && el('span', { class: 'place gives-way', text: `gives way${by}` });
}

/** How much they differ leads to why the two are alike. */
function compare(first, image, distance) {
  const href = searchPath(newSearch({ q: { id: first.id }, why: image.id }));
  return el('a', { class: 'distance', href, title: 'Why they are alike', text: short(distance) });
}

/** Pictures unlike the rest: broken, misplaced or rare. */
export function outliers(host, { signal }) {
  const by = el('select', { id: 'by', name: 'by' }, Object.entries(BY).map(([value, text]) => el('option', { value, text })));
  const count = el('input', { type: 'number', id: 'count', name: 'count', min: 1, max: 1000, required: true });
  return page(host, signal, {
    title: 'Outliers',
    words: 'Pictures unlike all others, the oddest first: broken, misplaced or rare ones. Nothing is deleted here.',
    path: '/outliers',
    doing: 'Looking for outliers',
    form: el('form', { class: 'options' }, field('by', 'Odd means', by), field('count', 'How many', count)),
    ask(parameters) {
      by.value = BY[parameters.get('by')] ? parameters.get('by') : 'both';
      count.value = Number.parseInt(parameters.get('count'), 10) || DEFAULT_COUNT;
      return { by: by.value, count: count.value };
    },
    show(found) {
      const list = tileList({ 'aria-label': 'Outliers, the oddest first' });
      list.append(...found.outliers.map(outlier));
      return [outliersFound(found), [list]];
    },
  });
}

function outliersFound({ points, outliers: found, usual_distance: distance, usual_error: error }) {
  const usual = [];
  if (typeof distance === 'number') usual.push(`the usual distance to the neighbours is ${short(distance)}`);
  if (typeof error === 'number') usual.push(`the usual error of the rebuilt picture ${short(error)}`);
  return `The ${found.length} oddest of ${plural(points, 'image')}${usual.length ? `; ${usual.join(', ')}` : ''}.`;
}

function outlier({ image, score, distance, error }) {
  const figures = [];
  if (typeof distance === 'number') figures.push(`distance ${short(distance)}`);
  if (typeof error === 'number') figures.push(`error ${short(error)}`);
  return tile(image, {}, el('div', { class: 'caption' },
    el('b', { text: short(score), title: 'How odd it is' }), el('span', { text: image.label ?? '' }),
    figures.map((text) => el('span', { class: 'place', text })), el('span', { class: 'place', title: image.location, text: image.key })));
}

/** A few pictures that cover the gallery. */
export function sample(host, { signal }) {
  const count = el('input', { type: 'number', id: 'count', name: 'count', min: 1, max: 1000, required: true });
  return page(host, signal, {
    title: 'Sample',
    words: 'Pictures that cover the gallery, to be labelled first or to see what there is: the most central one, then always the one least like all before.',
    path: '/sample',
    doing: 'Choosing pictures',
    form: el('form', { class: 'options' }, field('count', 'How many', count)),
    ask(parameters) {
      count.value = Number.parseInt(parameters.get('count'), 10) || DEFAULT_COUNT;
      return { count: count.value };
    },
    show({ points, contents, radius, sample: chosen }) {
      const list = tileList({ 'aria-label': 'A sample, in the order in which it was chosen' });
      list.append(...chosen.map(({ image, distance }, at) => tile(image, {}, el('div', { class: 'caption' },
        el('b', { text: String(at + 1), title: 'Its place in the order' }), el('span', { text: image.label ?? '' }),
        typeof distance === 'number' && el('span', { class: 'place', text: `distance ${short(distance)}` }),
        el('span', { class: 'place', title: image.location, text: image.key })))));
      const different = contents < points ? `, ${contents} of them different` : '';
      const within = chosen.length ? `; every other is within ${short(radius)} of one of them` : '';
      return [`${plural(chosen.length, 'picture')} of ${plural(points, 'image')}${different}${within}.`, [list]];
    },
  });
}
