// How the values of a measure are distributed, as a drawing.

import { short, svg, whole } from './dom.js';

const WIDTH = 320;
const HEIGHT = 84;
const BASE = 66;

/**
 * Bars of `counts` between `edges`, those beyond the threshold marked. Null where nothing was
 * measured.
 */
export function histogram({ edges, counts, threshold, side, name }) {
  if (!counts.length) return null;
  const most = Math.max(...counts);
  const bar = WIDTH / counts.length;
  const isBeyond = (at) => threshold !== null && (side === 'below' ? edges[at + 1] <= threshold : edges[at] >= threshold);
  // By their root, so that a few among thousands are seen.
  const bars = counts.map((count, at) => {
    const high = count ? Math.max(2, (BASE - 4) * Math.sqrt(count / most)) : 0;
    return svg('rect', { x: at * bar + 0.5, y: BASE - high, width: bar - 1, height: high, class: isBeyond(at) ? 'beyond' : null },
      svg('title', { text: `${short(edges[at])} to ${short(edges[at + 1])}: ${whole(count)}` }));
  });
  const at = threshold === null ? null : placeOf(threshold, edges) * bar;
  const text = (words, props) => svg('text', { y: HEIGHT - 4, ...props, text: words });
  return svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: 'histogram', role: 'img',
    'aria-label': `How ${name} is distributed, from ${short(edges[0])} to ${short(edges.at(-1))}` },
  bars,
  at !== null && svg('line', { x1: at, x2: at, y1: 0, y2: BASE }),
  text(short(edges[0]), { x: 0 }),
  text(short(edges.at(-1)), { x: WIDTH, 'text-anchor': 'end' }));
}

/** Where a value is among the edges, in bars; edges are not at equal distances. */
function placeOf(value, edges) {
  const after = edges.findIndex((edge) => edge > value);
  if (after < 0) return edges.length - 1;
  if (after === 0) return 0;
  return after - 1 + (value - edges[after - 1]) / (edges[after] - edges[after - 1]);
}
