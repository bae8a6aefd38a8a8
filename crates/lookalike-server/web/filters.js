// Which images are searched at all: by label and other fields, with how many there are of each
// value.

import { get } from './api.js';
import { button, complain, el, whole } from './dom.js';
import { filterWithout, readFilter, toggledFilter } from './state.js';

/** Values shown of each field. */
const VALUES = 14;
/** Fields that are different for every image say nothing as a filter. */
const TELLS_NOTHING = new Set(['key', 'blake3', 'location', 'modified', 'bytes',
  'brightness', 'contrast', 'sharpness', 'entropy', 'colourfulness', 'flat_bottom', 'undecoded',
  'taken', 'latitude', 'longitude']);

/** Chips for each field, and a field for other conditions. `changed` is told the new filter. */
export function filters({ facts, changed, signal }) {
  const fields = facts.fields.filter((field) => !TELLS_NOTHING.has(field));
  const groups = fields.map((field) => chipGroup(field, signal));
  const [label, others] = [groups.filter(({ field }) => field === 'label'), groups.filter(({ field }) => field !== 'label')];
  const more = el('details', { class: 'more-filters' }, el('summary', { text: 'More filters' }), others.map(({ node }) => node), conditionField());
  const node = el('section', { id: 'facets', 'aria-label': 'Filters' }, label.map((group) => group.node), more);
  let filter = null;

  const load = (some) => Promise.all(some.map((group) => group.load(filter))).catch(doubt);
  more.addEventListener('toggle', () => more.open && load(others));
  node.addEventListener('click', (event) => {
    const chip = event.target.closest('.chip');
    if (chip) changed(toggledFilter(filter, chip.dataset.field, chip.dataset.value));
  });
  node.addEventListener('submit', (event) => {
    event.preventDefault();
    const text = new FormData(event.target).get('condition').trim();
    if (text) changed(filter ? `${filter} and ${text}` : text);
    event.target.reset();
  });
  return {
    node,
    set(next) {
      if (next === filter) return;
      filter = next;
      load(label);
      if (more.open) load(others);
    },
  };
}

/** Of a filter that means nothing, the search says so already. */
const doubt = (error) => error.status === 422 || complain(error);

/** Chips of the conditions that are in force, each of which removes itself. */
export function conditionChips(filter, changed) {
  return readFilter(filter).map(({ text }) => button({
    text, icon: 'close', class: 'chip on', 'aria-label': `Remove the filter ${text}`, click: () => changed(filterWithout(filter, text)),
  }));
}

function conditionField() {
  return el('form', { class: 'condition' },
    el('label', { for: 'condition', text: 'Another condition' }),
    el('div', { class: 'row' },
      el('input', { type: 'text', id: 'condition', name: 'condition', placeholder: 'width>=100', autocomplete: 'off', spellcheck: 'false' }),
      el('button', { class: 'button', text: 'Add' })));
}

function chipGroup(field, signal) {
  const chips = el('div', { class: 'chips' });
  const node = el('fieldset', { class: 'field', hidden: true }, el('legend', { text: field }), chips);
  let latest = null;
  const load = async (filter) => {
    latest = filter;
    const conditions = readFilter(filter);
    const chosen = conditions.find((condition) => condition.field === field && condition.sign === '=')?.value;
    // The other values stay to be chosen instead.
    const others = conditions.filter((condition) => !(condition.field === field && condition.sign === '='));
    const { facets } = await get('/facets', { field, limit: VALUES, filter: others.map(({ text }) => text).join(' and ') }, signal);
    if (latest !== filter) return;
    const focused = chips.contains(document.activeElement) && document.activeElement.dataset.value;
    chips.replaceChildren(...facets.map((facet) => facetChip(field, facet, chosen)));
    if (focused !== false) [...chips.children].find((chip) => chip.dataset.value === focused)?.focus({ preventScroll: true });
    node.hidden = facets.length < 2 && chosen === undefined;
  };
  return { field, node, load };
}

function facetChip(field, { value, count }, chosen) {
  const on = String(value) === chosen;
  return el('button', { type: 'button', class: on ? 'chip on' : 'chip', 'aria-pressed': String(on), data: { field, value } },
    el('span', { text: value === '' ? '(empty)' : value }), el('small', { text: whole(count) }));
}
