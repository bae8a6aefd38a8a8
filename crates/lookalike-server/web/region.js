// A rectangle on a picture, by pointer or keys, in pixels of the original.

import { el } from './dom.js';

/** The sides that each handle moves. */
const HANDLES = ['n', 'ne', 'e', 'se', 's', 'sw', 'w', 'nw'];
/** A drag shorter than this share of the picture's longer side was meant as a click. */
const CLICK = 0.02;
/** An arrow key moves by this share of the longer side, by one pixel at least. */
const KEY_STEP = 0.02;

/**
 * Puts a region on `frame`, an element that a picture fills. `changed` is told each new region,
 * null for none, and whether it is one of many on the way, by dragging or arrow keys. Returns
 * `set(region, size)`, `begin()`, which makes one to go on from, and `clear()`.
 */
export function regionOn(frame, changed) {
  const box = el('div', { id: 'region', tabindex: '0', role: 'application', 'aria-roledescription': 'selected part', hidden: true,
    title: 'Drag to move. Arrow keys move, Shift with arrow keys resizes, Delete clears.' },
  HANDLES.map((sides) => el('i', { class: `handle ${sides}`, data: { sides } })));
  frame.append(box);
  let region = null;
  let size = [1, 1];

  const show = () => {
    box.hidden = !region;
    if (!region) return;
    place(box, region, size);
    box.setAttribute('aria-label', `Part at ${region.x}, ${region.y}, ${region.width} by ${region.height} pixels. Arrow keys move it, Shift with arrow keys resizes it, Delete clears it.`);
  };
  const set = (next, goesOn) => {
    if (same(region, next)) return;
    region = next;
    show();
    changed(region, goesOn);
  };

  frame.addEventListener('pointerdown', (event) => drag(event, { frame, box, size, region, set }));
  frame.addEventListener('dragstart', (event) => event.preventDefault());
  box.addEventListener('keydown', (event) => {
    const next = byKey(event, region, size);
    if (next === undefined) return;
    event.preventDefault();
    set(next, next !== null);
  });
  return {
    set(next, nextSize) {
      size = nextSize;
      region = next && within(next, size);
      show();
    },
    begin() {
      const [width, height] = size.map((length) => Math.max(1, Math.round(length / 2)));
      set({ x: Math.floor((size[0] - width) / 2), y: Math.floor((size[1] - height) / 2), width, height }, false);
      box.focus();
    },
    clear: () => set(null, false),
  };
}

function place(box, { x, y, width, height }, size) {
  const share = (length, whole) => `${(100 * length) / whole}%`;
  box.style.left = share(x, size[0]);
  box.style.top = share(y, size[1]);
  box.style.width = share(width, size[0]);
  box.style.height = share(height, size[1]);
}

/** Follows a pointer until it is lifted: a new region, or moving or resizing the one there is. */
function drag(event, { frame, box, size, region, set }) {
  const inBox = box.contains(event.target);
  // A finger on the picture itself scrolls the page.
  if (event.button !== 0 || (event.pointerType === 'touch' && !inBox)) return;
  event.preventDefault();
  const pixel = pixelUnder(frame, size);
  const from = pixel(event);
  const sides = event.target.dataset.sides ?? (inBox ? 'move' : 'se');
  const first = inBox ? region : { x: from[0], y: from[1], width: 0, height: 0 };
  const follow = (moved) => {
    const to = pixel(moved);
    const by = [to[0] - from[0], to[1] - from[1]];
    if (!inBox && Math.max(...by.map(Math.abs)) < CLICK * Math.max(...size)) return;
    set(moveSides(first, sides, by, size), true);
  };
  const end = () => {
    frame.removeEventListener('pointermove', follow);
    if (!box.hidden) box.focus({ preventScroll: true });
  };
  frame.setPointerCapture(event.pointerId);
  frame.addEventListener('pointermove', follow);
  frame.addEventListener('lostpointercapture', end, { once: true });
}

function pixelUnder(frame, size) {
  const { left, top, width, height } = frame.getBoundingClientRect();
  return ({ clientX, clientY }) => [((clientX - left) / width) * size[0], ((clientY - top) / height) * size[1]];
}

/**
 * A region with some of its sides, or all of it, moved by so many pixels; sides that pass each
 * other change places.
 */
function moveSides(region, sides, [dx, dy], size) {
  if (sides === 'move') {
    const x = clamp(region.x + dx, 0, size[0] - region.width);
    const y = clamp(region.y + dy, 0, size[1] - region.height);
    return rounded(x, y, x + region.width, y + region.height, size);
  }
  let [left, top] = [region.x, region.y];
  let [right, bottom] = [left + region.width, top + region.height];
  if (sides.includes('w')) left += dx;
  if (sides.includes('e')) right += dx;
  if (sides.includes('n')) top += dy;
  if (sides.includes('s')) bottom += dy;
  return rounded(Math.min(left, right), Math.min(top, bottom), Math.max(left, right), Math.max(top, bottom), size);
}

/** The region after a key: null if it clears it, undefined if it means nothing. */
function byKey(event, region, size) {
  if (event.key === 'Delete' || event.key === 'Backspace') return null;
  const step = Math.max(1, Math.round(KEY_STEP * Math.max(...size)));
  const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
  if (!by) return undefined;
  if (!event.shiftKey) return moveSides(region, 'move', by, size);
  const width = clamp(region.width + by[0], 1, size[0] - region.x);
  const height = clamp(region.height + by[1], 1, size[1] - region.y);
  return { ...region, width, height };
}

/** The whole pixels within these sides, one at least. */
function rounded(left, top, right, bottom, size) {
  const x = clamp(Math.round(left), 0, size[0] - 1);
  const y = clamp(Math.round(top), 0, size[1] - 1);
  const width = clamp(Math.round(right) - x, 1, size[0] - x);
  const height = clamp(Math.round(bottom) - y, 1, size[1] - y);
  return { x, y, width, height };
}

const within = ({ x, y, width, height }, size) => rounded(x, y, x + width, y + height, size);

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

const same = (a, b) => a === b || Boolean(a && b && a.x === b.x && a.y === b.y && a.width === b.width && a.height === b.height);
