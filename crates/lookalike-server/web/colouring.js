// By what the points of the map are coloured: labels or any other field, with a legend that counts
// and chooses.

import { get } from './api.js';
import { complain, el, whole } from './dom.js';
import { PALETTE, PLAIN, sequential } from './painter.js';

/** The group of points that have none. */
export const NO_GROUP = 255;
/** Of points in none. */
const OTHERS = '#8a8a8a';
/** Labels are a field that the map itself knows. */
export const BY_LABEL = 'label';

/**
 * The colours of a cloud's points. `changed` is called when they are others, or another group is
 * chosen by hand. `groups` has the number of each point's group, `colours` those of groups and
 * behind them that of the rest, `only` the group that is meant or -1.
 */
export class Colouring {
  constructor({ cloud, labels, fields, version, signal, changed }) {
    Object.assign(this, { cloud, labels, version, signal, changed, field: BY_LABEL, only: -1 });
    const others = fields.filter((field) => field !== BY_LABEL);
    this.choice = el('select', { id: 'colour-by', on: { change: () => this.show(this.choice.value, null, true) } },
      el('option', { value: BY_LABEL, text: BY_LABEL }), others.map((field) => el('option', { value: field, text: field })));
    this.list = el('div', { class: 'legend-list', role: 'group', 'aria-label': 'Groups' });
    this.node = el('div', { class: 'labels', role: 'group', 'aria-label': 'Colours' },
      el('label', { class: 'choice', for: 'colour-by' }, el('span', { text: 'Colours' }), this.choice), this.list);
    this.byLabels();
  }

  byLabels() {
    const groups = new Uint8Array(this.cloud.count);
    for (let point = 0; point < groups.length; point++) {
      const label = this.cloud.label(point);
      groups[point] = label >= 0 && label < PALETTE.length ? label : NO_GROUP;
    }
    this.set({ field: BY_LABEL, names: this.labels.slice(0, PALETTE.length), ordered: false, groups });
  }

  /** Colours by a field, and means the group of a name, if there is one. */
  async show(field, name, byHand = false) {
    if (field !== this.field) await this.load(field);
    if (this.field === field) this.choose(name === null ? -1 : this.names.indexOf(name), byHand);
  }

  async load(field) {
    this.wanted = field;
    if (field === BY_LABEL) return this.byLabels();
    try {
      const { names, ordered, groups } = await get('/map/groups', { version: this.version, field }, this.signal);
      if (this.wanted !== field) return undefined;
      return this.set({ field, names, ordered, groups: Uint8Array.from(groups, (group) => group ?? NO_GROUP) });
    } catch (error) {
      this.choice.value = this.field;
      return complain(error);
    }
  }

  set({ field, names, ordered, groups }) {
    Object.assign(this, { field, names, groups, only: -1, wanted: field });
    this.colours = [...(ordered ? sequential(names.length) : PALETTE.slice(0, names.length)), names.length ? OTHERS : PLAIN];
    this.choice.value = field;
    const counts = new Array(names.length).fill(0);
    let others = 0;
    for (const group of groups) {
      if (group === NO_GROUP) others++;
      else counts[group]++;
    }
    this.entries = names.map((name, group) => this.entry(name, group, counts[group]));
    const rest = others > 0 && names.length > 0 &&
      el('p', { class: 'rest' }, el('i', { style: { background: OTHERS } }), el('span', { text: 'others, or none' }), el('small', { text: whole(others) }));
    const none = !names.length && el('p', { class: 'rest', text: 'No image has it.' });
    this.list.replaceChildren(...this.entries, ...[rest, none].filter(Boolean));
    this.changed();
  }

  entry(name, group, count) {
    const choose = () => this.choose(group === this.only ? -1 : group, true);
    return el('button', { type: 'button', 'aria-pressed': 'false', on: { click: choose } },
      el('i', { style: { background: this.colours[group] } }), el('span', { text: name === '' ? '(empty)' : name }), el('small', { text: whole(count) }));
  }

  choose(group, byHand) {
    this.only = group;
    this.entries.forEach((entry, other) => entry.setAttribute('aria-pressed', String(other === group)));
    this.changed(byHand);
  }

  /** The name of a point's group, or null. */
  nameOf(point) {
    return this.names[this.groups[point]] ?? null;
  }

  colourOf(point) {
    return this.colours[Math.min(this.groups[point], this.names.length)];
  }
}
