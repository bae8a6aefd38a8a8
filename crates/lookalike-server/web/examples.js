// The tray of examples: what the answers should be like, and what not.

import { button, el } from './dom.js';
import { pictureOf } from './intake.js';
import { saveForm } from './saved.js';
import { byExamples, refText, sameRef } from './state.js';

/** The tray. `changed` is told the new {like, unlike}. */
export function examples(changed) {
  const list = el('ul', {});
  const clear = button({ text: 'Clear all', class: 'bare', click: () => changed({ like: [], unlike: [], named: null }) });
  const saved = el('p', { class: 'row between' });
  const save = saveForm();
  const node = el('section', { id: 'examples', 'aria-label': 'Examples', hidden: true },
    el('div', { class: 'row between' }, el('h2', { text: 'Examples' }), clear), saved, list, save.node);
  return {
    node,
    set(state) {
      const { like, unlike } = state;
      node.hidden = !byExamples(state);
      save.set(state);
      saved.hidden = !state.named;
      saved.replaceChildren(el('span', { text: `Those of “${state.named}”` }), button({ icon: 'close', label: 'Without this saved search', class: 'bare', click: () => changed({ named: null }) }));
      const item = (ref, kind) => example(ref, kind, () => changed(withoutExample(state, ref)));
      list.replaceChildren(...like.map((ref) => item(ref, 'like')), ...unlike.map((ref) => item(ref, 'unlike')));
    },
  };
}

/** The examples of a search with one more; an image is on one side only. */
export function withExample(state, kind, ref) {
  const others = withoutExample(state, ref);
  return { ...others, [kind]: [...others[kind], ref] };
}

function withoutExample({ like, unlike }, ref) {
  const others = (refs) => refs.filter((other) => !sameRef(other, ref));
  return { like: others(like), unlike: others(unlike) };
}

function example(ref, kind, remove) {
  const what = kind === 'like' ? 'More like this' : 'Less like this';
  return el('li', { class: kind, data: { ref: refText(ref) } },
    pictureOf(ref, { alt: what, class: 'pixels' }),
    el('span', { class: 'sign', 'aria-hidden': 'true', text: kind === 'like' ? '+' : '−' }),
    button({ icon: 'close', label: `Remove this example (${what.toLowerCase()})`, class: 'remove', click: remove }));
}
