// Copies beside each other: two of a group laid over one another at full size, what is known of
// each, and what a person decides.

import { address, get, put } from './api.js';
import { button, complain, el, short, whole } from './dom.js';
import { isSmall } from './tiles.js';

/** Images whose details are asked for at once. */
const MAX_DETAILS = 12;

const DAY = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

/**
 * The dialog; `decided` is called after something was decided. `open(group)` shows a group whose
 * members' images are there: the one that is kept on the left, if any is, and another on the right.
 */
export function reviewDialog(decided, signal) {
  const body = el('div', { class: 'body' });
  const close = () => dialog.close();
  const dialog = el('dialog', { id: 'review', 'aria-labelledby': 'review-title' },
    el('div', { class: 'row between' }, el('h2', { id: 'review-title', text: 'Compare copies' }),
      button({ icon: 'close', label: 'Close', class: 'bare', click: close, autofocus: true })), body);
  dialog.addEventListener('click', (event) => event.target === dialog && close());
  document.body.append(dialog);
  let leave = new AbortController();
  signal.addEventListener('abort', () => dialog.remove());
  dialog.addEventListener('close', () => leave.abort());

  async function decide(decisions) {
    try {
      await put('/duplicates/decisions', { decisions });
      close();
      decided();
    } catch (error) {
      complain(error);
    }
  }

  return {
    open({ members, kept = [] }) {
      leave = new AbortController();
      const own = leave.signal;
      const keeps = kept[0]?.kept ?? members[0].image.id;
      const left = members.find(({ image }) => image.id === keeps) ?? members[0];
      const others = members.filter((member) => member !== left);
      const details = new Map();
      const choose = el('select', { id: 'other', 'aria-label': 'Compare with' },
        others.map(({ image }, at) => el('option', { value: at, text: image.key })));
      const shown = el('div', { class: 'body' });
      const show = () => shown.replaceChildren(...pair(left, others[choose.value], details, decide));
      choose.addEventListener('change', () => {
        show();
        tell();
      });
      body.replaceChildren(...(others.length > 1 ? [choose] : []), shown);
      show();
      if (!dialog.open) dialog.showModal();

      // Each batch of others is measured beside the picture on the left.
      const tell = async () => {
        const at = Number(choose.value);
        const start = at - (at % (MAX_DETAILS - 1));
        const images = [left, ...others.slice(start, start + MAX_DETAILS - 1)].map(({ image }) => image);
        if (images.every(({ id }) => details.has(id))) return;
        try {
          const found = await get('/duplicates/details', { ids: images.map(({ id }) => id).join(',') }, own);
          for (const detail of found.images) details.set(detail.id, detail);
          show();
        } catch (error) {
          complain(error);
        }
      };
      tell();
    },
  };
}

function pair(left, right, details, decide) {
  const both = [left.image, right.image];
  const width = Math.max(...both.map((image) => image.width));
  const keep = (first, second) => () => decide([{ id: left.image.id, keep: first }, { id: right.image.id, keep: second }]);
  const isDecided = [left, right].some(({ decided }) => decided !== undefined);
  return [stage(both, width), facts([left, right], details), el('div', { class: 'row wrap' },
    button({ text: 'Keep left', class: 'button keep-left', click: keep(true, false) }),
    button({ text: 'Keep right', class: 'button keep-right', click: keep(false, true) }),
    button({ text: 'Keep both', class: 'button keep-both', click: keep(true, true) }),
    isDecided && button({ text: 'Forget', class: 'button forget', click: keep(null, null) }))];
}

/** Both pictures at one place; the slider says how much of each is seen. */
function stage([left, right], width) {
  const picture = (image, style) => el('img', {
    class: isSmall(image) ? `${style} pixels` : style, src: address.original(image.id), alt: image.key, draggable: 'false',
  });
  const layers = el('div', { class: 'over', style: { '--width': `${width}px`, '--cut': '50%' } }, picture(left, 'under'), picture(right, 'upper'));
  const cut = el('input', { type: 'range', id: 'cut', min: 0, max: 100, value: 50, 'aria-label': 'How much of the left picture is seen' });
  cut.addEventListener('input', () => layers.style.setProperty('--cut', `${cut.value}%`));
  const full = el('input', { type: 'checkbox', role: 'switch', id: 'full' });
  const frame = el('div', { class: 'stage', tabindex: 0, role: 'group', 'aria-label': 'The two pictures, one over the other' }, layers);
  full.addEventListener('change', () => frame.classList.toggle('full', full.checked));
  return el('div', {}, frame, cut, el('label', { class: 'inline', for: 'full' }, full, el('span', { text: 'Full size' })));
}

function facts(members, details) {
  const row = (name, value) => {
    const cells = members.map((member) => el('td', { text: value(member) }));
    return el('tr', {}, el('th', { scope: 'row', text: name }), cells);
  };
  const detail = ({ image }) => details.get(image.id);
  return el('div', { class: 'table' }, el('table', {},
    el('thead', {}, el('tr', {}, el('td', {}), el('th', { scope: 'col', text: 'Left' }), el('th', { scope: 'col', text: 'Right' }))),
    el('tbody', {},
      row('Size', ({ image }) => `${whole(image.width)} × ${whole(image.height)}`),
      row('Bytes', ({ image }) => (typeof image.bytes === 'number' ? whole(image.bytes) : 'not known')),
      row('Changed', ({ image }) => (typeof image.modified === 'number' ? DAY.format(image.modified / 1e6) : 'not known')),
      row('Format', (member) => (detail(member) ? detail(member).format ?? 'not known' : '…')),
      row('Sharpness', (member) => (detail(member) ? sharpness(detail(member)) : '…')),
      row('Decided', ({ decided }) => ({ true: 'keep', false: 'gives way' })[decided] ?? 'not by you'),
      row('Place', ({ image }) => image.location ?? `${image.source} ${image.key}`))));
}

const sharpness = ({ sharpness: value }) => (typeof value === 'number' ? short(value) : 'not known');
