// Only the images within a range of a field: of time, or of any number. What the map shows, and
// what is searched from it.

import { get } from './api.js';
import { complain, el, plural, short } from './dom.js';

/** Steps of a slider, at most; there are no more than different values. */
const STEPS = 500;
/** Fields whose values cannot be between others, or say nothing when they are. */
const NO_RANGE = new Set(['label', 'source', 'camera', 'lens', 'modified']);

/**
 * Two sliders over the values of a field. `changed` is called when the range is another. `hidden`
 * has 1 for each point that is outside of it, or is null; `filter()` is the same as a condition.
 */
export class Ranging {
  constructor({ cloud, fields, version, signal, changed }) {
    Object.assign(this, { cloud, version, signal, changed, field: '', hidden: null, values: [], steps: [] });
    this.choice = el('select', { id: 'range-of', on: { change: () => this.show(this.choice.value, null, null, true) } },
      el('option', { value: '', text: 'all images' }),
      fields.filter((field) => !NO_RANGE.has(field)).map((field) => el('option', { value: field, text: field })));
    this.from = this.slider('range-from', 'From');
    this.to = this.slider('range-to', 'To');
    this.sliders = el('div', { class: 'sliders', hidden: true }, this.from.node, this.to.node);
    this.count = el('p', { class: 'faint', role: 'status' });
    this.node = el('details', { class: 'ranging' }, el('summary', { text: 'Range' }),
      el('label', { class: 'choice', for: 'range-of' }, el('span', { text: 'Range of' }), this.choice), this.sliders, this.count);
  }

  slider(id, text) {
    const output = el('output', { for: id });
    const range = el('input', { type: 'range', id, min: 0, step: 1 });
    range.addEventListener('input', () => this.move(range));
    return { output, range, node: el('div', { class: 'slider' }, el('label', { for: id, text }), output, range) };
  }

  /** Moves one end; the other goes along where it is passed. */
  move(moved) {
    const [from, to] = [this.from.range, this.to.range];
    if (Number(from.value) > Number(to.value)) (moved === from ? to : from).value = moved.value;
    this.apply(true);
  }

  /**
   * The range of a field between two values, as they are written in an address; null for an open
   * end.
   */
  async show(field, from, to, byHand = false) {
    if (field !== this.field) await this.load(field);
    if (this.field !== field) return;
    const last = this.steps.length - 1;
    const at = (text, otherwise) => {
      if (text === null || !this.steps.length) return otherwise;
      const value = this.isTime ? text : Number(text);
      return otherwise === 0 ? clamp(this.steps.findLastIndex((step) => step <= value), 0, last) : indexOr(this.steps.findIndex((step) => step >= value), last);
    };
    this.from.range.value = at(from, 0);
    this.to.range.value = at(to, last);
    if (field) this.node.open = true;
    this.apply(byHand);
  }

  async load(field) {
    this.wanted = field;
    if (!field) return this.set('', false, []);
    try {
      const { kind, values } = await get('/map/values', { version: this.version, field }, this.signal);
      if (this.wanted !== field) return undefined;
      return this.set(field, kind === 'time', values);
    } catch (error) {
      this.choice.value = this.field;
      return complain(error);
    }
  }

  set(field, isTime, values) {
    const different = [...new Set(values.filter((value) => value !== null))].sort((a, b) => (a < b ? -1 : 1));
    Object.assign(this, { field, isTime, values, steps: thinned(different), wanted: field });
    this.choice.value = field;
    this.sliders.hidden = !this.steps.length;
    for (const { range } of [this.from, this.to]) range.max = Math.max(0, this.steps.length - 1);
  }

  apply(byHand) {
    const ends = [this.from, this.to];
    const [least, most] = ends.map(({ range }) => this.steps[Number(range.value)]);
    ends.forEach(({ output, range }, end) => {
      const text = this.steps.length ? this.written([least, most][end]) : '';
      output.textContent = text;
      range.setAttribute('aria-valuetext', text);
    });
    this.hidden = null;
    if (this.isNarrow()) {
      this.hidden = Uint8Array.from(this.values, (value) => (value === null || value < least || value > most ? 1 : 0));
    }
    this.count.textContent = this.sentence();
    this.changed(byHand);
  }

  sentence() {
    if (!this.field) return '';
    if (!this.steps.length) return 'No image has it.';
    const shown = this.hidden ? this.hidden.reduce((sum, hidden) => sum + 1 - hidden, 0) : this.cloud.count;
    return `${plural(shown, 'image')} shown.`;
  }

  /** Whether anything is left out. */
  isNarrow() {
    return this.steps.length > 0 && (Number(this.from.range.value) > 0 || Number(this.to.range.value) < this.steps.length - 1);
  }

  written(value) {
    if (!this.isTime) return short(value);
    return value.replace('T', ' ').slice(0, 16);
  }

  /** The ends as they are written in an address; null where nothing is left out. */
  ends() {
    return this.isNarrow() ? [this.from, this.to].map(({ range }) => String(this.steps[Number(range.value)])) : null;
  }

  /** The range as a condition of a search, or nothing. */
  filter() {
    const ends = this.ends();
    return ends ? `${this.field}>=${ends[0]} and ${this.field}<=${ends[1]}` : '';
  }
}

/** Evenly some of many values, the first and the last among them. */
function thinned(values) {
  if (values.length <= STEPS) return values;
  return Array.from({ length: STEPS }, (_, i) => values[Math.round((i * (values.length - 1)) / (STEPS - 1))]);
}

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
const indexOr = (index, otherwise) => (index < 0 ? otherwise : index);
