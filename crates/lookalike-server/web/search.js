// The page with a query: the picture and how to search on one side, the answers on the other.

import { button, complain, el, throttled, whole } from './dom.js';
import { controls } from './controls.js';
import { examples, withExample } from './examples.js';
import { conditionChips, filters } from './filters.js';
import { chooseFile, imageOf, pictureOf, sizeOfSent, waysIn, wordsField } from './intake.js';
import { regionOn } from './region.js';
import { results } from './results.js';
import { close, go, readSearch, sameRef, searchPath } from './state.js';
import { isSmall } from './tiles.js';
import { whyDialog } from './why.js';

/** While something is dragged, it is searched at most every so many ms. */
const PACE = 90;

export function mount(host, { facts, signal }) {
  let state = null;
  let isLost = false;
  const change = (parts, gesture = null) => go(searchPath({ ...state, ...parts }), { gesture });
  const changeSoon = throttled((parts, gesture) => !signal.aborted && change(parts, gesture), PACE);

  const query = queryPanel(signal, (region, goesOn) => changeSoon({ region }, goesOn ? 'region' : null));
  const tray = examples(change);
  const how = controls({ facts, changed: changeSoon });
  const which = filters({ facts, signal, changed: (filter) => change({ filter }) });
  const conditions = el('div', { class: 'chips' });
  const answers = results({ facts, signal, act, saw: how.saw, lost });
  const why = whyDialog(facts, () => close(searchPath({ ...state, why: null })), signal);

  function act(what, id, part) {
    if (what === 'why') change({ why: id, part }, 'why');
    else change(withExample(state, what === 'more' ? 'like' : 'unlike', { id }));
  }

  function lost() {
    isLost = true;
    query.lost(state.q);
  }

  host.append(
    el('div', { class: 'aside' }, query.node, tray.node, refinements(which.node, how.node, signal)),
    el('section', { class: 'found', 'aria-label': 'Answers' },
      el('h1', { class: 'unseen', text: 'Images that look alike' }),
      el('div', { class: 'bar' }, answers.status, conditions), answers.node));

  return {
    update(url) {
      const before = state;
      state = readSearch(url);
      query.set(state);
      tray.set(state);
      how.set(state);
      which.set(state.filter);
      conditions.replaceChildren(...conditionChips(state.filter, (filter) => change({ filter })));
      why.set(state);
      const sameSearch = before && !isLost && searchPath({ ...before, why: null }) === searchPath({ ...state, why: null });
      if (sameSearch) return undefined;
      isLost = false;
      return answers.run(state);
    },
  };
}

/** Folded away where there is little room. */
function refinements(which, how, signal) {
  const roomy = matchMedia('(min-width: 60rem)');
  const node = el('details', { class: 'refine' }, el('summary', { text: 'Refine' }), which, how);
  const fit = () => (node.open = roomy.matches);
  fit();
  roomy.addEventListener('change', fit, { signal });
  return node;
}

/** The picture that is asked with, and the part of it that counts. */
function queryPanel(signal, regionChanged) {
  const about = el('p', { class: 'about' });
  const part = button({ text: 'Select a part', icon: 'crop', class: 'button' });
  const another = button({ text: 'Another', icon: 'upload', class: 'button', click: chooseFile, 'aria-label': 'Another picture' });
  const holder = el('div', { class: 'holder' });
  const node = el('section', { class: 'query', 'aria-label': 'Query' }, holder, el('div', { class: 'row' }, part, another), about);
  let shown = null;
  let picker = null;
  let size = null;
  let region = null;

  part.addEventListener('click', () => (region ? picker?.clear() : picker?.begin()));

  /** The picker is there once the picture's size is known. */
  function show(next) {
    region = next;
    picker?.set(region, size);
    part.lastChild.textContent = region ? 'Whole picture' : 'Select a part';
  }

  function showPicture(state) {
    const { q } = state;
    shown = q;
    picker = null;
    about.textContent = '';
    node.hidden = !q;
    part.hidden = Boolean(q?.text);
    if (!q) return;
    if (q.text) {
      holder.replaceChildren(wordsField(q.text));
      return;
    }
    const frame = el('div', { id: 'drop', class: 'picture' });
    const picture = pictureOf(q, { alt: 'Your query', draggable: 'false' });
    frame.append(picture);
    holder.replaceChildren(frame);
    const ready = (known, image) => {
      if (shown !== q || picker) return;
      size = known;
      frame.style.setProperty('--ratio', size[0] / size[1]);
      picture.classList.toggle('pixels', isSmall({ width: size[0], height: size[1] }));
      picker = regionOn(frame, (changed, goesOn) => {
        show(changed);
        regionChanged(changed, goesOn);
      });
      show(region);
      describe(about, size, image);
    };
    const known = state.size ?? sizeOfSent(q);
    if (known) ready(known);
    else if (q.id) imageOf(q, signal).then((image) => ready([image.width, image.height], image), complain);
    else picture.addEventListener('load', () => ready([picture.naturalWidth, picture.naturalHeight]));
  }

  return {
    node,
    set(state) {
      if (!sameRef(shown, state.q)) {
        region = state.region;
        showPicture(state);
      }
      show(state.region);
    },
    /** Asks for the picture again, kindly. */
    lost(q) {
      shown = null;
      picker = null;
      about.textContent = '';
      node.hidden = false;
      holder.replaceChildren(el('div', { id: 'drop', class: 'lost' },
        el('h2', { text: q?.upload ? 'This picture is no longer kept' : 'This image is not here any more' }),
        el('p', { text: q?.upload ? 'Pictures that are searched with are kept for a while only. Please give it again: drop it, paste it or choose it.'
          : 'It may have been removed from the gallery. Search with another picture.' }),
        waysIn()));
    },
  };
}

function describe(about, [width, height], image) {
  const text = `${whole(width)} × ${whole(height)}`;
  if (!image) return about.replaceChildren(text);
  return about.replaceChildren(el('b', { text: image.label ?? '' }), ` ${text} `,
    el('span', { class: 'place', title: image.location ?? image.key, text: image.key }));
}
