// Thumbnails on the map: fetched a few at a time, those wanted now first, and kept while there is
// room.

import { address } from './api.js';

/** Kept at most, and fetched at a time. */
const KEPT = 1500;
const AT_ONCE = 8;

export class Thumbnails {
  /** `arrived` is called when there is something new to draw. */
  constructor(arrived) {
    this.arrived = arrived;
    this.kept = new Map();
    this.fetching = new Set();
  }

  /**
   * Those of `wanted`, ids, that are there, as {picture, since}; the others are fetched in their
   * order.
   */
  get(wanted) {
    const there = wanted.map((id) => this.touch(id));
    for (const id of wanted) {
      if (this.fetching.size >= AT_ONCE) break;
      if (!this.kept.has(id) && !this.fetching.has(id)) this.fetch(id);
    }
    return there;
  }

  /** A thumbnail that is used is the last to go. */
  touch(id) {
    const found = this.kept.get(id);
    if (found) {
      this.kept.delete(id);
      this.kept.set(id, found);
    }
    return found;
  }

  fetch(id) {
    const picture = new Image();
    const done = (isThere) => {
      this.fetching.delete(id);
      this.kept.set(id, { picture: isThere ? picture : null, since: performance.now() });
      if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
      this.arrived();
    };
    this.fetching.add(id);
    picture.src = address.thumbnail(id);
    picture.decode().then(() => done(true), () => done(false));
  }
}
