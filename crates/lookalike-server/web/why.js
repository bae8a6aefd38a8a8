// Why an image matched: where the two pictures agree, what the model keeps of each, and the
// figures, in plain words.

import { post, postForPicture } from './api.js';
import { button, el, percent, short } from './dom.js';
import { drawHeat, strength } from './heat.js';
import { imageOf, pictureOf, sizeOfSent } from './intake.js';
import { withRegion } from './state.js';
import { isSmall } from './tiles.js';

/** Longest side of the pictures as drawn here. */
const LARGEST = 512;

/** What `distance` means, by metric. */
const METRICS = {
  cosine: '0 is the same look, 1 is unrelated',
  euclidean: '0 is the same code; larger is less alike',
  manhattan: '0 is the same code; larger is less alike',
  dot: 'the lower, the more alike',
};

/** The dialog, shown as long as a search says why; `closed` is called when a person closes it. */
export function whyDialog({ model }, closed, signal) {
  let shown = null;
  let leave = new AbortController();
  const body = el('div', { class: 'body' });
  const dialog = el('dialog', { id: 'why', 'aria-labelledby': 'why-title' }, heading(closed), body);
  dialog.addEventListener('cancel', (event) => {
    event.preventDefault();
    closed();
  });
  dialog.addEventListener('click', (event) => event.target === dialog && closed());
  document.body.append(dialog);
  signal.addEventListener('abort', () => dialog.remove());

  async function open(state) {
    leave = new AbortController();
    const left = withRegion(state.q ?? state.like[0] ?? state.unlike[0], state.q && state.region);
    const right = withRegion({ id: state.why }, state.part);
    body.replaceChildren(el('p', { text: 'Comparing…' }));
    if (!dialog.open) dialog.showModal();
    if (!left) {
      body.replaceChildren(el('p', { text: 'A saved search has no picture of its own to compare with. Search with one, or add an example.' }));
      return;
    }
    try {
      const found = await post('/explain', { query: left, with: right }, leave.signal);
      const size = left.region ? await sizeOf(state, leave.signal) : null;
      const most = strength(found.query, found.with);
      const draw = (title, ref, grid, whole) => side(title, ref, { grid, most, size: whole, found, shape: model.shape }, leave.signal);
      const query = draw(state.q ? 'Your query' : 'Your first example', left, found.query, size);
      const whole = state.part ? await sizeOf({ q: right }, leave.signal) : null;
      const answer = draw('The answer', right, found.with, whole);
      if (state.part) answer.append(whereIn(right, whole));
      body.replaceChildren(...content(query, answer, found));
    } catch (error) {
      if (error.name !== 'AbortError') body.replaceChildren(el('p', { class: 'trouble', role: 'alert', text: error.message }));
    }
  }

  return {
    set(state) {
      if (state.why === shown) return;
      shown = state.why;
      leave.abort();
      if (shown) open(state);
      else dialog.close();
    },
  };
}

/** The size in whose pixels a search's region is. */
async function sizeOf({ q, size }, signal) {
  const known = size ?? sizeOfSent(q);
  if (known || q.upload) return known;
  const { width, height } = await imageOf(q, signal);
  return [width, height];
}

function heading(closed) {
  return el('div', { class: 'row between' }, el('h2', { id: 'why-title', text: 'Why it matched' }),
    button({ icon: 'close', label: 'Close', class: 'bare', click: closed, autofocus: true }));
}

function content(query, answer, found) {
  const pair = el('div', { class: 'pair' }, query, answer);
  const heat = el('input', { type: 'checkbox', role: 'switch', id: 'heat', checked: true });
  heat.addEventListener('change', () => pair.classList.toggle('plain', !heat.checked));
  return [
    el('div', { class: 'row between wrap' }, legend(), el('label', { class: 'inline', for: 'heat' }, el('span', { text: 'Show where' }), heat)),
    pair,
    found.fit === 'crop' && el('p', { class: 'faint', text: 'Of each picture the model sees the middle; what is dark at its edges is cut off before.' }),
    el('p', { class: 'faint', text: inSentences(found) }),
    figures(found),
  ].filter(Boolean);
}

/**
 * Whether the places were found by covering one after another, as with encoders that have no
 * decoder.
 */
const isCovered = ({ method }) => method === 'occlusion';

function inSentences(found) {
  const places = 'Orange places make the two alike, blue ones set them apart.';
  return isCovered(found)
    ? `${places} Each place was covered with the picture's mean colour in turn: the more the similarity falls without it, the stronger the orange.`
    : `${places} The small pictures are rebuilt from the codes alone: what is missing there, the model does not compare.`;
}

function legend() {
  return el('div', { class: 'legend', role: 'img', 'aria-label': 'From blue, sets them apart, to orange, makes them alike' },
    el('span', { text: 'sets apart' }), el('i', {}), el('span', { text: 'makes alike' }));
}

/** A picture under its heat map, and below it what the model keeps of it. */
function side(title, ref, { grid, most, size, found, shape }, signal) {
  const picture = el('canvas', { role: 'img', 'aria-label': title });
  const heat = el('canvas', { class: 'heat', role: 'img', 'aria-label': inWords(grid) });
  drawHeat(heat, grid, most);
  const source = pictureOf(ref);
  source.addEventListener('load', () => {
    drawPart(picture, source, ref.region, size);
    lieOver(heat, picture, found.fit, shape);
  });
  return el('figure', {},
    el('figcaption', { text: ref.region ? `${title}, the part` : title }),
    el('div', { class: 'layers' }, el('div', {}, picture, heat)),
    isCovered(found) ? null : rebuilt(title, ref, signal));
}

/** What the model keeps of a picture; only an autoencoder can show it. */
function rebuilt(title, ref, signal) {
  const kept = el('img', { class: 'pixels', alt: `${title}, rebuilt from its code` });
  const whole = el('div', { class: 'kept' }, kept, el('small', { text: 'what the model keeps' }));
  showReconstruction(kept, ref, signal).catch(() => whole.remove());
  return whole;
}

/** The whole picture, with the part of it that was found. */
function whereIn({ id, region }, size) {
  const { x, y, width, height } = region;
  const share = (length, axis) => `${(100 * length) / size[axis]}%`;
  return el('div', { class: 'where' },
    pictureOf({ id }, { alt: `The whole picture; the part is at ${x}, ${y}, ${width} by ${height} pixels` }),
    el('i', { class: 'part', style: { left: share(x, 0), top: share(y, 1), width: share(width, 0), height: share(height, 1) } }));
}

/** Where the strongest places are, for those who cannot see them. */
function inWords({ rows, columns, values }) {
  const best = values.indexOf(Math.max(...values));
  const down = ['top', 'middle', 'bottom'][Math.floor((3 * Math.floor(best / columns)) / rows)];
  const across = ['left', 'centre', 'right'][Math.floor((3 * (best % columns)) / columns)];
  return `Heat map; most alike at the ${down}, ${across}`;
}

/**
 * Draws a picture, or the part of it; where it was sent smaller than it is, the part is scaled with
 * it.
 */
function drawPart(canvas, picture, region, size) {
  const [width, height] = [picture.naturalWidth, picture.naturalHeight];
  const part = region ? scaled(region, width / (size?.[0] ?? width)) : { x: 0, y: 0, width, height };
  const scale = Math.min(1, LARGEST / Math.max(part.width, part.height));
  canvas.width = Math.max(1, Math.round(part.width * scale));
  canvas.height = Math.max(1, Math.round(part.height * scale));
  canvas.parentElement.style.setProperty('--ratio', canvas.width / canvas.height);
  canvas.classList.toggle('pixels', isSmall(part));
  canvas.getContext('2d').drawImage(picture, part.x, part.y, part.width, part.height, 0, 0, canvas.width, canvas.height);
}

/**
 * Lays a heat map over what the model sees of a picture: all of it, brought to its shape, or the
 * middle, or more than there is, where it pads.
 */
function lieOver(heat, { width, height }, fit, shape) {
  const scales = [shape.width / width, shape.height / height];
  const scale = fit === 'crop' ? Math.max(...scales) : Math.min(...scales);
  const [across, down] = fit === 'stretch' ? [1, 1] : scales.map((own) => own / scale);
  const share = (part) => `${100 * part}%`;
  Object.assign(heat.style, { width: share(across), height: share(down), left: share((1 - across) / 2), top: share((1 - down) / 2) });
  heat.classList.toggle('cut', fit === 'crop');
}

const scaled = ({ x, y, width, height }, by) => ({ x: x * by, y: y * by, width: width * by, height: height * by });

async function showReconstruction(picture, ref, signal) {
  const url = URL.createObjectURL(await postForPicture('/reconstruct', { query: ref }, signal));
  const done = () => URL.revokeObjectURL(url);
  picture.addEventListener('load', done, { once: true });
  picture.src = url;
}

function figures({ distance, metric, similarity, colour_share: colours }) {
  const rows = [
    ['Distance', short(distance), `By ${metric}: ${METRICS[metric] ?? 'smaller is nearer'}.`],
    ['Similarity', short(similarity), 'Of the two codes: 1 is the same, 0 unrelated, below 0 opposite.'],
  ];
  if (colours) rows.push(['From colours', short(colours), `${percent(colours / similarity)} of the similarity is of colours, the rest of shapes and textures.`]);
  return el('div', {}, meter(similarity, colours),
    el('dl', { class: 'figures' }, rows.map(([name, value, words]) => el('div', {}, el('dt', { text: name }), el('dd', {}, el('b', { text: value }), el('span', { text: words }))))));
}

/** The similarity as a bar: of shapes first, then of colours. */
function meter(similarity, colours) {
  const width = (share) => ({ style: { width: `${100 * Math.min(1, Math.max(0, share))}%` } });
  const label = colours ? `Similarity ${short(similarity)}, of which ${short(colours)} from colours` : `Similarity ${short(similarity)}`;
  return el('div', { class: 'meter', role: 'img', 'aria-label': label },
    el('i', { class: 'shapes', ...width(similarity - colours) }), el('i', { class: 'colours', ...width(colours) }));
}
