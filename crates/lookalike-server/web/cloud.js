// The points of the map as the server sends them, and a grid over them by which those near a place
// are found.

/** Bytes of a point: its id (16), x and y (4 each), the number of its label (4). */
export const STRIDE = 28;
/** Numbers of 4 bytes of a point, and which of them are its place and label. */
const WORDS = STRIDE / 4;
const X = 4;
const Y = 5;
const LABEL = 6;
/** The label of points without one. */
const NONE = 0xffffffff;
/** Cells of the grid along each side. */
const CELLS = 256;

export class Cloud {
  /** `buffer` holds one record per point, as GET /map/points answers. */
  constructor(buffer) {
    this.buffer = buffer;
    this.count = Math.floor(buffer.byteLength / STRIDE);
    this.bytes = new Uint8Array(buffer);
    this.floats = new Float32Array(buffer, 0, this.count * WORDS);
    this.words = new Uint32Array(buffer, 0, this.count * WORDS);
    this.sort();
  }

  x(point) {
    return this.floats[point * WORDS + X];
  }

  y(point) {
    return this.floats[point * WORDS + Y];
  }

  /** The number of a point's label, or -1. */
  label(point) {
    const label = this.words[point * WORDS + LABEL];
    return label === NONE ? -1 : label;
  }

  /** A point's id as it is written. */
  id(point) {
    const hex = Array.from(this.bytes.subarray(point * STRIDE, point * STRIDE + 16), (byte) => byte.toString(16).padStart(2, '0')).join('');
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  }

  /** Sorts the points by cell: those of cell c are `order[starts[c] .. starts[c + 1]]`. */
  sort() {
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    this.order = new Uint32Array(this.count);
    for (let point = 0; point < this.count; point++) this.starts[this.cellOf(point) + 1]++;
    for (let cell = 0; cell < CELLS * CELLS; cell++) this.starts[cell + 1] += this.starts[cell];
    const next = this.starts.slice();
    for (let point = 0; point < this.count; point++) this.order[next[this.cellOf(point)]++] = point;
  }

  cellOf(point) {
    return line(this.y(point)) * CELLS + line(this.x(point));
  }

  /** Calls `visit` with each point of a box, {left, top, right, bottom}. */
  inBox(box, visit) {
    for (let row = line(box.top); row <= line(box.bottom); row++) {
      const first = this.starts[row * CELLS + line(box.left)];
      const end = this.starts[row * CELLS + line(box.right) + 1];
      for (let at = first; at < end; at++) {
        const point = this.order[at];
        const [x, y] = [this.x(point), this.y(point)];
        if (x >= box.left && x <= box.right && y >= box.top && y <= box.bottom) visit(point, x, y);
      }
    }
  }

  /** The point nearest to a place within `radius`, and within `box`, that is `wanted`, or -1. */
  nearest(x, y, radius, wanted, box = { left: x - radius, top: y - radius, right: x + radius, bottom: y + radius }) {
    let [best, least] = [-1, radius * radius];
    this.inBox(box, (point, px, py) => {
      const distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance <= least && wanted(point)) [best, least] = [point, distance];
    });
    return best;
  }

  /** The wanted points within a polygon of [x, y]. */
  inPolygon(polygon, wanted) {
    const [xs, ys] = [polygon.map(([x]) => x), polygon.map(([, y]) => y)];
    const box = { left: Math.min(...xs), top: Math.min(...ys), right: Math.max(...xs), bottom: Math.max(...ys) };
    const found = [];
    this.inBox(box, (point, x, y) => wanted(point) && contains(polygon, x, y) && found.push(point));
    return found;
  }

  /**
   * One wanted point of each square of side `cell` in a box; the same ones wherever the box lies.
   */
  onePerCell(box, cell, wanted) {
    const found = new Map();
    const whole = {
      left: Math.floor(box.left / cell) * cell, top: Math.floor(box.top / cell) * cell,
      right: Math.ceil(box.right / cell) * cell, bottom: Math.ceil(box.bottom / cell) * cell,
    };
    this.inBox(whole, (point, x, y) => {
      const key = Math.floor(y / cell) * 65536 + Math.floor(x / cell);
      const other = found.get(key);
      if ((other === undefined || point < other) && wanted(point)) found.set(key, point);
    });
    return [...found.values()];
  }
}

/** The row or column of the grid in which a coordinate lies. */
const line = (coordinate) => Math.min(CELLS - 1, Math.max(0, Math.floor(coordinate * CELLS)));

/**
 * Whether a place is within a polygon: a ray from it crosses the outline an odd number of times.
 */
function contains(polygon, x, y) {
  let inside = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [[ax, ay], [bx, by]] = [polygon[i], polygon[j]];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}
