// How the loss fell in training, as a drawing.

import { el, short, svg } from './dom.js';

const WIDTH = 480;
const HEIGHT = 190;
const MARGIN = { left: 52, right: 12, top: 12, bottom: 28 };

/**
 * A curve of `values`, one per epoch, below a dashed line for the loss of answering the mean image.
 * Null without a course.
 */
export function curve({ values, name, baseline }) {
  const known = values.filter(Number.isFinite);
  if (known.length < 2) return null;
  const most = Math.max(...known, Number.isFinite(baseline) ? baseline : -Infinity);
  const least = Math.min(...known);
  const x = (epoch) => MARGIN.left + (epoch / (known.length - 1)) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (value) => MARGIN.top + ((most - value) / (most - least || 1)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const text = (words, props) => svg('text', { ...props, text: words });
  const line = (props, from, to) => svg('line', { x1: x(0), x2: x(known.length - 1), y1: from, y2: to, ...props });
  const drawing = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'curve', role: 'img',
    'aria-label': `${name} over ${known.length} epochs, from ${short(known[0])} to ${short(known.at(-1))}` },
  line({ class: 'axis' }, y(least), y(least)),
  Number.isFinite(baseline) && line({ class: 'baseline' }, y(baseline), y(baseline)),
  Number.isFinite(baseline) && text('the mean image', { x: WIDTH - MARGIN.right, y: y(baseline) + 14, 'text-anchor': 'end' }),
  text(short(most), { x: MARGIN.left - 6, y: y(most) + 4, 'text-anchor': 'end' }),
  text(short(least), { x: MARGIN.left - 6, y: y(least) + 4, 'text-anchor': 'end' }),
  text('epoch 1', { x: x(0), y: HEIGHT - 8 }),
  text(String(known.length), { x: x(known.length - 1), y: HEIGHT - 8, 'text-anchor': 'end' }),
  svg('polyline', { points: known.map((value, epoch) => `${x(epoch).toFixed(1)},${y(value).toFixed(1)}`).join(' ') }));
  return el('figure', { class: 'chart' }, el('figcaption', { text: `Loss (${name}) by epoch` }), drawing);
}
