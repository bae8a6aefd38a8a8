// How to search: how many, how near, among parts, how varied, by diffusion.

import { el, short } from './dom.js';
import { byExamples, DEFAULT_K } from './state.js';

/** The threshold reaches so many times as far as the first answers. */
const BEYOND = 4;
/** The threshold's slider has so many steps; they are finer near nought, where it matters. */
const STEPS = 200;

/**
 * The sliders and switches. `changed` is told what of the search is to change, and the name of the
 * gesture. Returns the element, `set(state)`, and `saw(answers)`, from which the threshold learns
 * what distances there are.
 */
export function controls({ facts, changed }) {
  const threshold = thresholdSlider(changed);
  const k = slider({ id: 'k', text: 'Answers at a time', min: 5, max: Math.min(200, facts.limits.most_k), step: 5,
    input: (value) => changed({ k: value }, 'k') });
  const diverse = diverseSwitch(changed);
  const diffusion = diffusionSwitch(facts, changed);
  const tiles = tilesSwitch(facts, changed);
  return {
    node: el('div', { class: 'controls' }, threshold.node, k.node, tiles.node, diverse.node, diffusion.node),
    saw: threshold.saw,
    set(state) {
      threshold.set(state.max);
      k.set(state.k ?? DEFAULT_K);
      k.output.textContent = state.k;
      tiles.set(state, byExamples(state));
      diverse.set(state, byExamples(state));
      diffusion.set(state, byExamples(state));
    },
  };
}

function slider({ id, text, min, max, step, input }) {
  const output = el('output', { for: id });
  const range = el('input', { type: 'range', id, min, max, step });
  range.addEventListener('input', () => input(Number(range.value)));
  const node = el('div', { class: 'slider' }, el('label', { for: id, text }), output, range);
  return { node, output, range, set: (value) => (range.value = value) };
}

/**
 * From nought, or the nearest there is, to well beyond the first answers; at the end it means no
 * limit.
 */
function thresholdSlider(changed) {
  let bottom = 0;
  let top = 1e-6;
  let max = null;
  const distanceAt = (position) => Number((bottom + (top - bottom) * (position / STEPS) ** 2).toPrecision(3));
  const positionOf = (distance) => Math.round(STEPS * Math.sqrt(Math.max(0, (distance - bottom) / (top - bottom))));
  const input = (position) => changed({ max: position >= STEPS ? null : distanceAt(position) }, 'threshold');
  const { node, output, range } = slider({ id: 'threshold', text: 'At most this far', min: 0, max: STEPS, step: 1, input });
  const set = (next) => {
    max = next;
    if (max !== null && max > top) top = max;
    const position = max === null ? STEPS : Math.min(STEPS - 1, positionOf(max));
    // While it is moved, rounding must not push it about.
    if (document.activeElement !== range || Math.abs(range.value - position) > 1) range.value = position;
    output.textContent = max === null ? 'any' : short(max);
    range.setAttribute('aria-valuetext', max === null ? 'any distance' : `distance ${short(max)}`);
  };
  const saw = (distances) => {
    // What is being moved stays under the hand.
    if (!distances.length || document.activeElement === range) return;
    bottom = Math.min(bottom, ...distances);
    top = Math.max(top, BEYOND * Math.max(...distances));
    set(max);
  };
  return { node, set, saw };
}

function toggle(id, text, input) {
  const box = el('input', { type: 'checkbox', role: 'switch', id, 'aria-describedby': `${id}-note` });
  box.addEventListener('change', () => input(box.checked));
  const note = el('p', { class: 'faint', id: `${id}-note` });
  return { box, note, node: el('div', { class: 'switch' }, el('label', { for: id }, el('span', { text }), box), note) };
}

function diverseSwitch(changed) {
  const { box, note, node } = toggle('diverse', 'Varied answers', (on) =>
    changed(on ? { diverse: 0.5, diffusion: false, tiles: false } : { diverse: null }, null));
  const amount = slider({ id: 'diverse-amount', text: 'Near rather than varied', min: 0, max: 1, step: 0.05,
    input: (value) => changed({ diverse: value }, 'diverse') });
  node.append(amount.node);
  return {
    node,
    set({ diverse }, byExamples) {
      box.checked = diverse !== null && !byExamples;
      box.disabled = byExamples;
      note.textContent = byExamples ? 'Not together with examples.' : '';
      amount.node.hidden = !box.checked;
      if (diverse !== null) amount.set(diverse);
      amount.output.textContent = diverse === null ? '' : short(diverse);
    },
  };
}

/** Only of a gallery that keeps tiles. */
function tilesSwitch(facts, changed) {
  const { box, note, node } = toggle('tiles', 'Find parts of pictures', (on) => changed({ tiles: on, diverse: null, diffusion: false }, null));
  node.hidden = !facts.gallery.tiles;
  return {
    node,
    set({ tiles }, byExamples) {
      box.checked = tiles && !byExamples;
      box.disabled = byExamples;
      note.textContent = byExamples ? 'Not together with examples.' : '';
    },
  };
}

function diffusionSwitch(facts, changed) {
  const kind = facts.gallery.diffusion;
  const helps = facts.model?.diffusion_may_help ?? true;
  const { box, note, node } = toggle('diffusion', 'Rank by diffusion', (on) => changed({ diffusion: on, diverse: null, tiles: false }, null));
  return {
    node,
    set({ diffusion }, byExamples) {
      box.checked = diffusion && !byExamples;
      box.disabled = byExamples || kind === 'absent';
      note.textContent = diffusionNote(kind, byExamples, helps);
    },
  };
}

function diffusionNote(kind, byExamples, helps) {
  if (kind === 'absent') return 'This gallery has not been prepared for it.';
  if (byExamples) return 'Not together with examples.';
  if (!helps) return 'Not expected to help on these images: too many neighbours are not confirmed.';
  return kind === 'stale' ? 'It does not know the newest images yet.' : '';
}
