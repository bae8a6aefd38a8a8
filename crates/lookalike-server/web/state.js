// The address bar is the state: what is asked for is read from it and written to it, so that links,
// back and forward work.

import { pagePath } from './base.js';

/**
 * A step that follows the last one of the same gesture within this time (ms) replaces it in the
 * history. What is dragged is one gesture however long it takes.
 */
const GESTURE = 1200;
/** Answers that are fetched at a time, unless the address says otherwise. */
export const DEFAULT_K = 40;

let arrived = () => {};
let lastGesture = { name: null, time: 0 };
/** When a pointer last went down, unless a key has come since. */
let pressed = Infinity;

addEventListener('pointerdown', () => (pressed = performance.now()), { capture: true });
addEventListener('keydown', () => (pressed = Infinity), { capture: true });

/**
 * Sets who is told that the address has changed, and how far down the page was when it was left.
 */
export function onArrival(listener) {
  arrived = listener;
  history.scrollRestoration = 'manual';
  addEventListener('popstate', (event) => {
    lastGesture = { name: null, time: 0 };
    // A step to a place within the page is the browser's own.
    arrived(location.hash ? null : event.state?.top ?? 0);
  });
}

/**
 * Goes to an address of this page. Steps of one `gesture`, such as moving a slider, are one entry
 * in the history; `replace` makes none at all.
 */
export function go(path, { gesture = null, replace = false } = {}) {
  const now = performance.now();
  const isDragged = lastGesture.time >= pressed;
  const goesOn = gesture !== null && gesture === lastGesture.name && (isDragged || now - lastGesture.time < GESTURE);
  lastGesture = { name: gesture, time: now };
  if (path === location.pathname + location.search) {
    // There already; what is shown may still have to be asked for again.
  } else if (replace || goesOn) {
    history.replaceState(history.state, '', path);
  } else {
    history.replaceState({ ...history.state, top: scrollY }, '');
    history.pushState({ pushed: true }, '', path);
  }
  arrived(gesture || replace ? null : 0);
}

/**
 * Leaves what was opened on top of the page, such as a dialog: back if it was opened from here,
 * else to `path`.
 */
export function close(path) {
  if (history.state?.pushed) history.back();
  else go(path, { replace: true });
}

/** What the search page shows, read from an address. */
export function readSearch(url) {
  const parameters = url.searchParams;
  return {
    q: readRef(parameters.get('q')),
    size: readNumbers(parameters.get('size'), 2),
    region: readRegion(parameters.get('region')),
    like: parameters.getAll('like').map(readRef).filter(Boolean),
    unlike: parameters.getAll('unlike').map(readRef).filter(Boolean),
    named: parameters.get('named'),
    k: readWhole(parameters.get('k')) ?? DEFAULT_K,
    max: readNumber(parameters.get('max')),
    filter: parameters.get('filter') ?? '',
    diverse: readNumber(parameters.get('diverse')),
    diffusion: parameters.get('diffusion') === '1',
    tiles: parameters.get('tiles') === '1',
    why: parameters.get('why'),
    part: readRegion(parameters.get('part')),
  };
}

/** A search of which only something is said; the rest is as usual. */
export function newSearch(parts) {
  return { ...readSearch(new URL(location.origin)), ...parts };
}

/** The address of a search. */
export function searchPath(state) {
  const parameters = new URLSearchParams();
  const put = (name, value) => value !== null && value !== '' && parameters.append(name, value);
  if (state.q) put('q', refText(state.q));
  if (state.size && state.q?.upload) put('size', state.size.join('x'));
  if (state.region) put('region', regionText(state.region));
  for (const ref of state.like) put('like', refText(ref));
  for (const ref of state.unlike) put('unlike', refText(ref));
  put('named', state.named);
  if (state.k !== DEFAULT_K) put('k', state.k);
  put('max', state.max);
  put('filter', state.filter);
  put('diverse', state.diverse);
  if (state.diffusion) put('diffusion', '1');
  if (state.tiles) put('tiles', '1');
  put('why', state.why);
  if (state.why && state.part) put('part', regionText(state.part));
  const text = parameters.toString().replaceAll('%3A', ':').replaceAll('%2C', ',');
  return pagePath(text ? `/?${text}` : '/');
}

/** Whether there is anything to search with. */
export const asksForSomething = (state) => Boolean(state.q || byExamples(state));

/** Whether a search is by examples, those of a saved search among them. */
export const byExamples = ({ like, unlike, named }) => Boolean(like.length || unlike.length || named);

/** Answers that can be varied at once. */
export const MAX_VARIED = 100;

/** Whether the answers to a search are to be varied: examples know nothing of that. */
export const isVaried = (state) => state.diverse !== null && !state.tiles && !byExamples(state);

/** The body of a search request, without offset. */
export function searchBody(state) {
  const body = { k: isVaried(state) ? Math.min(state.k, MAX_VARIED) : state.k };
  if (byExamples(state)) {
    Object.assign(body, examplesOf(state));
  } else {
    body.query = state.q && withRegion(state.q, state.region);
    if (state.tiles) body.tiles = true;
    else if (state.diverse !== null) body.diverse = state.diverse;
    else if (state.diffusion) body.rerank = 'diffusion';
  }
  if (state.max !== null) body.max_distance = state.max;
  if (state.filter) body.filter = state.filter;
  return body;
}

/** The examples of a search, as the API takes them: what is asked with is one of what is wanted. */
export function examplesOf({ q, region, like, unlike, named }) {
  const all = { like: q ? [withRegion(q, region), ...like] : like, unlike };
  return named ? { ...all, named } : all;
}

/** A reference to a part of an image. */
export const withRegion = (ref, region) => (region ? { ...ref, region } : ref);

/** `id:…`, `upload:…` or `text:…`. */
export function refText(ref) {
  if (ref.text) return `text:${ref.text}`;
  return ref.id ? `id:${ref.id}` : `upload:${ref.upload}`;
}

/** Whether two references mean the same image. */
export const sameRef = (a, b) => a === b || (Boolean(a && b) && refText(a) === refText(b));

/**
 * The conditions of a filter as [{field, sign, value}]; what cannot be understood is kept as a
 * text.
 */
export function readFilter(filter) {
  return conditionsOf(filter).map((text) => {
    const parts = /^([^!<>=]+)(!=|<=|>=|=|<|>)(.*)$/s.exec(text);
    return parts ? { text, field: parts[1], sign: parts[2], value: unquoted(parts[3]) } : { text };
  });
}

/**
 * The conditions of a filter as they are written: " and " divides them, but not within the quotes
 * of a value.
 */
function conditionsOf(filter) {
  const conditions = [];
  let rest = filter;
  while (rest) {
    const quoted = /^[^!<>="]+(?:!=|<=|>=|=|<|>)\s*"(?:[^"\\]|\\.)*"/s.exec(rest)?.[0] ?? '';
    const joint = rest.indexOf(' and ', quoted.length);
    const text = joint < 0 ? rest : rest.slice(0, joint);
    if (text) conditions.push(text);
    rest = joint < 0 ? '' : rest.slice(joint + ' and '.length);
  }
  return conditions;
}

const unquoted = (value) => (/^\s*"(.*)"\s*$/s.exec(value)?.[1].replace(/\\(.)/gs, '$1') ?? value);

/** A value as a filter must have it: in quotes where it could be read as something else. */
function writtenValue(value) {
  const plain = value && value === value.trim() && !value.startsWith('"') && !value.includes(' and ') && !value.endsWith(' and');
  return plain ? value : `"${value.replace(/["\\]/g, '\\$&')}"`;
}

/** A filter with the condition `field=value`, or without any of that kind if it had it. */
export function toggledFilter(filter, field, value) {
  const text = `${field}=${writtenValue(String(value))}`;
  const conditions = readFilter(filter);
  const had = conditions.some((condition) => condition.field === field && condition.sign === '=' && condition.value === String(value));
  const others = conditions.filter((condition) => !(condition.field === field && condition.sign === '='));
  return [...others.map((condition) => condition.text), ...(had ? [] : [text])].join(' and ');
}

/** A filter without one of its conditions. */
export function filterWithout(filter, text) {
  return readFilter(filter).map((condition) => condition.text).filter((other) => other !== text).join(' and ');
}

function readRef(text) {
  const id = /^id:([0-9a-f-]{36})$/i.exec(text ?? '');
  if (id) return { id: id[1] };
  const words = /^text:(.+)$/s.exec(text ?? '');
  if (words) return { text: words[1] };
  const upload = /^upload:(\w+)$/.exec(text ?? '');
  return upload ? { upload: upload[1] } : null;
}

function readRegion(text) {
  const numbers = readNumbers(text, 4);
  if (!numbers || numbers[2] < 1 || numbers[3] < 1) return null;
  const [x, y, width, height] = numbers;
  return { x, y, width, height };
}

const regionText = ({ x, y, width, height }) => [x, y, width, height].join(',');

function readNumbers(text, count) {
  const numbers = (text ?? '').split(/[,x]/).map(readWhole);
  return numbers.length === count && numbers.every((number) => number !== null) ? numbers : null;
}

const readWhole = (text) => (/^\d{1,9}$/.test(text ?? '') ? Number(text) : null);

/** A number, or null. */
export function readNumber(text) {
  const number = Number.parseFloat(text ?? '');
  return Number.isFinite(number) ? number : null;
}
