// The answers: asked for, shown nearest first, and more of them as one scrolls.

import { post, Problem, sentence } from './api.js';
import { button, complain, el, plural, short } from './dom.js';
import { sendAgain } from './intake.js';
import { isVaried, MAX_VARIED, searchBody } from './state.js';
import { markPart, searchWithImage, tile, tileList } from './tiles.js';

/** Answers are kept so that going back is at once. */
const REMEMBERED = 40;
/** More answers are fetched when their end is so far below what is seen. */
const AHEAD = '900px';
/** The server no longer keeps the picture, or never had it. */
const GONE = new Set([404, 410]);

const remembered = new Map();
/** The parts that were found, by the tiles that show them. */
const parts = new WeakMap();

/** Forgets all answers, since the gallery has changed. */
export const forgetAnswers = () => remembered.clear();

/**
 * The list of answers. `act(what, id, part)` is told when a button of an answer is pressed ('more',
 * 'less' or 'why'), `saw(distances)` what distances there are, `lost(error)` that the query's
 * picture is not there any more.
 */
export function results({ facts, signal, act, saw, lost }) {
  const list = tileList({ id: 'results', 'aria-label': 'Answers, nearest first' });
  const status = el('p', { id: 'status', role: 'status' });
  const notes = el('div', { class: 'notes' });
  const end = el('div', { class: 'end' });
  const node = el('div', { class: 'results' }, notes, list, end);
  let current = { state: null, shown: 0, more: false, abort: new AbortController() };

  signal.addEventListener('abort', () => current.abort.abort());
  list.addEventListener('click', (event) => {
    const pressed = event.target.closest('button');
    const item = pressed?.closest('.answer');
    if (item) act(pressed.dataset.act, item.dataset.id, parts.get(item) ?? null);
  });
  // A busy browser tells several sightings at once, of which the last holds.
  const observer = new IntersectionObserver((sightings) => sightings.at(-1).isIntersecting && current.more && next(current), { rootMargin: AHEAD });
  signal.addEventListener('abort', () => observer.disconnect());

  /**
   * Shows the first answers of a search; resolves when they are there, or are not wanted any more.
   */
  async function run(state) {
    current.abort.abort();
    current = { state, shown: 0, more: false, abort: new AbortController() };
    const mine = current;
    observer.disconnect();
    list.setAttribute('aria-busy', 'true');
    try {
      const answer = await firstAnswer(state, mine.abort.signal);
      if (mine === current) showFirst(mine, answer);
    } catch (error) {
      if (mine === current) fail(error);
    } finally {
      if (mine === current) list.removeAttribute('aria-busy');
    }
  }

  function showFirst(mine, answer) {
    const before = new Map([...list.children].map((item) => [item.dataset.id, item]));
    list.replaceChildren(...answer.neighbours.map((neighbour) => answerTile(neighbour, mine.state, before.get(neighbour.image.id))));
    notes.replaceChildren(...answer.notes.map((text) => el('p', { text: sentence(text) })));
    saw(answer.neighbours.map(({ distance }) => distance));
    count(mine, answer);
  }

  /** The next answers of the same ranking. */
  async function next(mine) {
    mine.more = false;
    end.textContent = '';
    try {
      const answer = await ask(mine.state, mine.shown, mine.abort.signal);
      if (mine !== current) return;
      const known = new Set([...list.children].map((item) => item.dataset.id));
      const fresh = answer.neighbours.filter(({ image }) => !known.has(image.id));
      list.append(...fresh.map((neighbour) => answerTile(neighbour, mine.state)));
      count(mine, answer);
    } catch (error) {
      if (mine !== current) return;
      complain(error);
      end.replaceChildren(el('p', { text: 'More answers could not be fetched.' }),
        button({ text: 'Try again', click: () => next(mine) }));
    }
  }

  function count(mine, answer) {
    mine.shown += answer.neighbours.length;
    mine.more = answer.more && answer.neighbours.length > 0 && mine.shown < facts.limits.most_results;
    status.textContent = summary(mine, answer);
    end.textContent = mine.more || !mine.shown ? '' : ending(mine);
    // Observing anew tells at once whether the end is still in sight.
    observer.disconnect();
    if (mine.more) observer.observe(end);
  }

  function fail(error) {
    if (error.name === 'AbortError') return;
    list.replaceChildren();
    notes.replaceChildren();
    end.textContent = '';
    status.textContent = error.message;
    if (GONE.has(error.status)) lost(error);
    // What the server says is said; what nobody expects is worth more words.
    else if (!error.status) complain(error);
  }

  async function firstAnswer(state, abort) {
    if (!state.q && !state.like.length && !state.named) throw new Problem(422, 'These are examples of what is not wanted only. Add one of what is, or search with a picture.');
    try {
      return await ask(state, 0, abort);
    } catch (error) {
      if (!GONE.has(error.status) || !(await sentAgain(state))) throw error;
      return ask(state, 0, abort);
    }
  }

  async function ask(state, offset, abort) {
    const left = facts.limits.most_results - offset;
    const body = { ...searchBody(state), offset };
    body.k = Math.min(body.k, left, facts.limits.most_k);
    const key = JSON.stringify(body);
    const answer = remembered.get(key) ?? (await post('/search', body, abort));
    remembered.delete(key);
    remembered.set(key, answer);
    if (remembered.size > REMEMBERED) remembered.delete(remembered.keys().next().value);
    return answer;
  }

  return { node, status, run };
}

/** Whether all pictures of a search that were sent from here could be sent again. */
async function sentAgain(state) {
  const uploads = [state.q, ...state.like, ...state.unlike].filter((ref) => ref?.upload);
  if (!uploads.length) return false;
  return (await Promise.all(uploads.map(sendAgain))).every(Boolean);
}

/** Varied answers are chosen together, so that there is no ranking to go on with. */
function ending({ state, shown }) {
  if (!isVaried(state) || shown < Math.min(state.k, MAX_VARIED)) return 'That is all.';
  return shown < MAX_VARIED ? 'Varied answers are chosen together. For more of them, raise “Answers at a time”.' : 'More than these cannot be varied at once.';
}

function summary({ shown, more, state }, { milliseconds }) {
  if (!shown) {
    const within = [state.max !== null && 'is that near', state.filter && 'passes the filters'].filter(Boolean);
    return within.length ? `No image ${within.join(' and ')}. Allow more.` : 'There is nothing to compare with.';
  }
  const order = state.diffusion ? 'best' : 'nearest';
  if (isVaried(state)) return `${plural(shown, 'image')}, near and varied · ${short(milliseconds)} ms`;
  return `${more ? `The ${order} ${plural(shown, 'image')}` : `${plural(shown, 'image')}, ${order} first`} · ${short(milliseconds)} ms`;
}

/** One answer; a tile that shows the image already is used again, so that its picture stays. */
function answerTile({ image, distance, score, region, gone }, state, before) {
  const href = searchWithImage(image.id, state);
  const item = before ?? newTile(image, href);
  item.querySelector('.frame').setAttribute('href', href);
  item.querySelector('.distance').textContent = short(distance);
  item.querySelector('.distance').title = typeof score === 'number' ? `Distance; its score is ${short(score)}` : 'Distance';
  markPart(item, image, region);
  parts.set(item, region);
  item.querySelector('.frame').title = region ? `${placeOf(image)}: the part at ${region.x}, ${region.y}, ${region.width} by ${region.height} pixels` : placeOf(image);
  item.classList.toggle('gone', Boolean(gone));
  if (gone) item.querySelector('.place').title = `${item.querySelector('.place').textContent}: this file is not there any more`;
  return item;
}

const placeOf = (image) => image.location ?? `${image.source}#${image.key}`;

function newTile(image, href) {
  const place = placeOf(image);
  const item = tile(image, { href, title: place },
    el('div', { class: 'caption' },
      el('b', { text: image.label ?? '' }), el('span', { class: 'distance' }),
      el('span', { class: 'place', title: place, text: image.key })),
    el('div', { class: 'acts' }, act('more', 'plus', `More like ${image.key}`), act('less', 'minus', `Less like ${image.key}`),
      act('why', 'why', `Why ${image.key} matched`)));
  item.classList.add('answer');
  item.dataset.id = image.id;
  return item;
}

const act = (what, name, label) => button({ icon: name, label, class: `act ${what}`, 'data-act': what });
