// What pointers do on the map: pan by dragging, pinch, point, tap, or draw an outline.

/** A pointer that has moved less than this, in pixels, was a tap. */
const TAP = 5;
/** Points of an outline are at least this far apart. */
const STEP = 4;

/**
 * Follows the pointers on `target`. `on` has pan(dx, dy), pinch(factor, place), hover(place or
 * null), outline(path, done), tap(place, isTouch), and wantsOutline(), whether a drag draws instead
 * of panning.
 */
export function followPointers(target, on) {
  const down = new Map();
  let gesture = null;

  target.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    target.setPointerCapture(event.pointerId);
    down.set(event.pointerId, placeOf(event));
    if (down.size === 1) gesture = { from: placeOf(event), path: on.wantsOutline() ? [placeOf(event)] : null, moved: false };
    else gesture = { moved: true, path: null };
  });

  target.addEventListener('pointermove', (event) => {
    const place = placeOf(event);
    if (!down.has(event.pointerId)) return event.pointerType === 'mouse' && on.hover(place);
    const before = new Map(down);
    down.set(event.pointerId, place);
    if (down.size === 2) return pinch([...before.values()], [...down.values()], on);
    if (down.size > 2 || !gesture) return undefined;
    if (!gesture.moved && apart(place, gesture.from ?? place) < TAP) return undefined;
    gesture.moved = true;
    return gesture.path ? draw(gesture.path, place, on) : panFrom(before.get(event.pointerId), place, on);
  });

  const lift = (event) => {
    if (!down.delete(event.pointerId) || down.size > 0) return;
    if (gesture.path && gesture.moved) on.outline(gesture.path, true);
    else if (!gesture.moved && event.type === 'pointerup') on.tap(placeOf(event), event.pointerType === 'touch');
    gesture = null;
  };
  target.addEventListener('pointerup', lift);
  target.addEventListener('pointercancel', lift);
  target.addEventListener('pointerleave', (event) => event.pointerType === 'mouse' && on.hover(null));
}

function panFrom(before, after, on) {
  on.hover(null);
  on.pan(after[0] - before[0], after[1] - before[1]);
}

function draw(path, place, on) {
  if (apart(path.at(-1), place) >= STEP) path.push(place);
  on.outline(path, false);
}

function pinch([a, b], [c, d], on) {
  const [before, after] = [middle(a, b), middle(c, d)];
  on.pan(after[0] - before[0], after[1] - before[1]);
  on.pinch(Math.max(1, apart(c, d)) / Math.max(1, apart(a, b)), after);
}

const placeOf = ({ offsetX, offsetY }) => [offsetX, offsetY];

const middle = (a, b) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];

const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);
