// Scripts that deal with copies: asked for here, read and run by a person.

import { getPatiently } from './api.js';
import { button, el, plural, whole } from './dom.js';
import { waiting } from './progress.js';

/** A form that asks for a script; `wanted()` returns the parameters of the page. */
export function scriptForm(wanted, signal) {
  const folder = el('input', { type: 'text', id: 'move-to', placeholder: '/path/of/a/folder', autocomplete: 'off' });
  const result = el('div', { class: 'body', 'aria-live': 'polite' });
  let leave = new AbortController();
  signal.addEventListener('abort', () => leave.abort());
  const write = async (event) => {
    event.preventDefault();
    leave.abort();
    leave = new AbortController();
    const progress = waiting('Writing a script');
    result.replaceChildren(progress.node);
    const move_to = folder.value.trim();
    try {
      const written = await getPatiently('/duplicates/script', { ...wanted(), move_to }, leave.signal, progress.tell);
      result.replaceChildren(...told(written, move_to ? 'move' : 'link'));
    } catch (error) {
      if (error.name !== 'AbortError') progress.fail(error);
    }
  };
  return el('details', { id: 'script' }, el('summary', { text: 'Write a script that deals with the copies' }),
    el('p', { class: 'faint', text: 'It moves them to a folder on the server’s machine or, without one, replaces exact copies by hard links. It looks at every file first and deletes nothing. Read it, run it with sh, and keep the second script, which undoes it.' }),
    el('form', { class: 'options', on: { submit: write } },
      el('label', { for: 'move-to' }, el('span', { text: 'Move copies to' }), folder),
      button({ text: 'Write', type: 'submit', class: 'button write' })), result);
}

function told({ script, undo, files, bytes, left }, name) {
  const rest = left.map(({ count, words }) => el('li', { text: `${plural(count, 'copy', 'copies')} left alone: ${words}.` }));
  return [el('p', { class: 'written', text: `It deals with ${plural(files, 'file')} of ${whole(bytes)} bytes, of the 1,000 largest groups.` }),
    el('ul', {}, rest),
    el('p', { class: 'row wrap' }, file(`${name}.sh`, script), file(`${name}-undo.sh`, undo)),
    el('pre', { tabindex: 0, text: head(script) })];
}

/** A link that saves a text as a file. */
function file(name, text) {
  const href = URL.createObjectURL(new Blob([text], { type: 'application/x-sh' }));
  return el('a', { class: 'button', href, download: name, text: name });
}

/** What a script says of itself: the comment at its start. */
function head(script) {
  const lines = script.split('\n').slice(1);
  return lines.slice(0, lines.findIndex((line) => !line.startsWith('#'))).join('\n');
}
