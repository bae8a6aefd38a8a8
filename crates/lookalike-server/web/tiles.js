// Pictures side by side. The rows are filled to the width by the style sheet alone: each tile grows
// in proportion to the picture's shape, so that all of a row are equally high whatever the width,
// and nothing is laid out by script.

import { address, noteContent } from './api.js';
import { el } from './dom.js';
import { newSearch, searchPath } from './state.js';

/** Pictures up to this size are shown enlarged, pixel by pixel. */
const SMALL = 64;
/** Shapes beyond these are cut, or one of them would fill the page. */
const NARROWEST = 0.65;
const WIDEST = 2.6;

/** A list for tiles; the last row is kept from being stretched by the style sheet. */
export const tileList = (props) => el('ul', { ...props, class: `tiles ${props.class ?? ''}` });

/** The address that searches with an image. */
export const searchWithImage = (id, state = newSearch({})) =>
  searchPath({ ...state, q: { id }, size: null, region: null, like: [], unlike: [], named: null, why: null });

/** What a picture is called: its label and its name. */
export function nameOf(image) {
  return image.label ? `${image.label} · ${image.key}` : image.key;
}

/** The width of an image over its height, within what fits a row. */
export function shapeOf({ width, height }) {
  return Math.min(WIDEST, Math.max(NARROWEST, width / height || 1));
}

export const isSmall = ({ width, height }) => Math.max(width, height) <= SMALL;

/**
 * Marks a part of an image on the picture of a tile, which may be cut at two sides; null marks
 * none.
 */
export function markPart(item, image, part) {
  const frame = item.querySelector('.frame');
  frame.querySelector('.part')?.remove();
  if (!part) return;
  const ratio = image.width / image.height;
  const seen = [shapeOf(image) / ratio, ratio / shapeOf(image)].map((share) => Math.min(1, share));
  const place = (start, whole, axis) => `${(100 * (start / whole - (1 - seen[axis]) / 2)) / seen[axis]}%`;
  const share = (length, whole, axis) => `${(100 * length) / whole / seen[axis]}%`;
  frame.append(el('i', { class: 'part', style: {
    left: place(part.x, image.width, 0), top: place(part.y, image.height, 1),
    width: share(part.width, image.width, 0), height: share(part.height, image.height, 1),
  } }));
}

/** A picture that searches with itself, and below it whatever else. */
export function tile(image, { href = searchWithImage(image.id), title = image.location ?? image.key } = {}, ...below) {
  noteContent(image);
  const picture = el('img', {
    class: isSmall(image) ? 'pixels' : '', src: address.thumbnail(image.id), alt: `Find what looks like ${nameOf(image)}`,
    loading: 'lazy', decoding: 'async', width: image.width, height: image.height,
  });
  picture.addEventListener('error', () => picture.classList.add('gone'));
  return el('li', { class: 'tile', style: { '--shape': shapeOf(image) } },
    el('a', { class: 'frame', href, title }, picture), below);
}
