// Heat maps: what each place of a picture adds to the likeness, or takes from it. Orange and blue
// are told apart by nearly everybody, whatever their sight for colours.

/** Side of the smooth map, in pixels; the browser enlarges it from there. */
const SIDE = 128;
const ADDS = [240, 130, 20];
const TAKES = [50, 120, 255];
/** The strongest place is covered by this much. */
const STRONGEST = 0.82;

/** The largest magnitude of some maps, by which they are drawn alike. */
export const strength = (...grids) => Math.max(1e-9, ...grids.flatMap(({ values }) => values.map(Math.abs)));

/** Draws `grid`, {rows, columns, values}, over the whole of a canvas; `most` is drawn strongest. */
export function drawHeat(canvas, grid, most) {
  canvas.width = SIDE;
  canvas.height = SIDE;
  const context = canvas.getContext('2d');
  const pixels = context.createImageData(SIDE, SIDE);
  const across = weights(grid.columns);
  const down = weights(grid.rows);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      paint(pixels.data, 4 * (y * SIDE + x), valueAt(grid, across[x], down[y]) / most);
    }
  }
  context.putImageData(pixels, 0, 0);
}

function paint(data, at, share) {
  const [red, green, blue] = share >= 0 ? ADDS : TAKES;
  data[at] = red;
  data[at + 1] = green;
  data[at + 2] = blue;
  data[at + 3] = 255 * STRONGEST * Math.min(1, Math.abs(share)) ** 0.8;
}

function valueAt({ columns, values }, across, down) {
  let sum = 0;
  for (const [row, byRow] of down) {
    for (const [column, byColumn] of across) sum += byRow * byColumn * values[row * columns + column];
  }
  return sum;
}

/**
 * For each pixel, the cells that it lies among and their weights: a quadratic B-spline, smooth and
 * never beyond the values.
 */
function weights(cells) {
  return Array.from({ length: SIDE }, (_, pixel) => {
    const place = ((pixel + 0.5) / SIDE) * cells - 0.5;
    const nearest = Math.round(place);
    const off = place - nearest;
    const shares = [0.5 * (0.5 - off) ** 2, 0.75 - off ** 2, 0.5 * (0.5 + off) ** 2];
    return shares.map((share, i) => [Math.min(cells - 1, Math.max(0, nearest + i - 1)), share]);
  });
}
