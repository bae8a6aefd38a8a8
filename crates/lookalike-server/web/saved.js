// Searches by examples that are kept in the gallery under names: listing, running, saving,
// renaming, deleting them.

import { get, post, put, remove } from './api.js';
import { button, complain, el, plural, toast } from './dom.js';
import { forgetAnswers } from './results.js';
import { examplesOf, newSearch, searchPath } from './state.js';

const MAX_NAME = 100;

const placeOf = (name) => `/searches/${encodeURIComponent(name)}`;

const nameField = (value, label) => el('input', { type: 'text', name: 'name', required: true, maxlength: MAX_NAME, value, placeholder: 'A name', 'aria-label': label });

/** A field for a name under which the examples that are shown are kept; `set(state)` says which. */
export function saveForm() {
  const name = nameField('', 'Name of the search');
  let state = null;
  const submit = async (event) => {
    event.preventDefault();
    const own = name.value.trim();
    if (!own) return;
    try {
      const { replaced } = await put(placeOf(own), { ...examplesOf(state), filter: state.filter || null });
      forgetAnswers();
      toast(replaced ? `“${own}” was saved in place of the one before.` : `“${own}” was saved. It is on the start page.`);
    } catch (error) {
      complain(error);
    }
  };
  return {
    node: el('form', { class: 'save', on: { submit } }, name, el('button', { class: 'button', text: 'Save this search' })),
    set(next) {
      if (next.named !== state?.named) name.value = next.named ?? '';
      state = next;
    },
  };
}

/** The saved searches as a section of the page; hidden while there are none. */
export function savedSearches(signal) {
  const list = el('ul', {});
  const node = el('section', { class: 'saved', id: 'saved', 'aria-labelledby': 'saved-title', hidden: true }, el('h2', { id: 'saved-title', text: 'Saved searches' }), list);
  const refresh = async () => {
    try {
      const { searches } = await get('/searches', {}, signal);
      node.hidden = searches.length === 0;
      list.replaceChildren(...searches.map((search) => item(search, refresh)));
    } catch (error) {
      complain(error);
    }
  };
  refresh();
  return node;
}

function item(search, refresh) {
  const { name } = search;
  const shown = el('li', { data: { name } });
  const attempt = async (change) => {
    try {
      await change();
      forgetAnswers();
      await refresh();
    } catch (error) {
      complain(error);
    }
  };
  const rename = () => {
    const field = nameField(name, `Another name for ${name}`);
    const submit = (event) => {
      event.preventDefault();
      attempt(() => post(`${placeOf(name)}/name`, { name: field.value.trim() }));
    };
    shown.replaceChildren(el('form', { class: 'save', on: { submit } }, field, el('button', { class: 'button', text: 'Rename' })));
    field.select();
  };
  shown.append(
    el('a', { href: searchPath(newSearch({ named: name })), text: name, title: about(search) }),
    button({ text: 'Rename', class: 'bare rename', 'aria-label': `Rename ${name}`, click: rename }),
    button({ icon: 'close', label: `Delete ${name}`, class: 'bare', click: () => attempt(() => remove(placeOf(name))) }));
  return shown;
}

function about({ like, unlike, filter }) {
  const gone = [...like, ...unlike].filter((example) => example.gone).length;
  const parts = [`${plural(like.length, 'example')} of what is wanted`];
  if (unlike.length) parts.push(`${unlike.length} of what is not`);
  if (filter) parts.push(`where ${filter}`);
  if (gone) parts.push(`${gone} of them not in the gallery any more`);
  return parts.join(', ');
}
