// The map: the whole gallery in two dimensions, what looks alike side by side.

import { address, getBytes, getPatiently } from './api.js';
import { pagePath } from './base.js';
import { Cloud } from './cloud.js';
import { BY_LABEL, Colouring } from './colouring.js';
import { button, el, plural, settled, toast, whole } from './dom.js';
import { followPointers } from './gestures.js';
import { boxOf, HIDDEN, painterOn, PLAIN, SELECTED } from './painter.js';
import { waiting } from './progress.js';
import { Ranging } from './ranging.js';
import { selectionPanel } from './selection.js';
import { go, newSearch } from './state.js';
import { Thumbnails } from './thumbnails.js';
import { searchWithImage } from './tiles.js';

/** Fields that are different for every image have neither groups nor ranges. */
const TELLS_NOTHING = new Set(['key', 'blake3', 'location']);
/** Thumbnails are shown from this zoom on, or sooner where there are few points. */
const THUMBNAIL_ZOOM = 3;
const FEW = 250;
/** A thumbnail's side in CSS pixels, and its time to appear in ms. */
const THUMBNAIL = 52;
const FADE = 180;
/** A pointer within this many pixels of a point means it. */
const REACH = 14;
const MAX_ZOOM = 400;
/** Share of the way that a zoom goes in each frame. */
const EASE = 0.28;

export function mount(host, { facts: { fields }, signal }) {
  const progress = waiting('Laying out the map');
  host.append(el('h1', { class: 'unseen', text: 'Map of the gallery' }), progress.node);
  const ready = load(progress, signal).then(({ facts, cloud }) => {
    progress.node.remove();
    return new MapPage(host, facts, fields.filter((field) => !TELLS_NOTHING.has(field)), cloud, signal);
  }, (error) => progress.fail(error));
  return { update: async (url) => (await ready)?.show(url) };
}

async function load(progress, signal) {
  const facts = await getPatiently('/map', {}, signal, progress.tell);
  const buffer = await getBytes('/map/points', { version: facts.version }, signal);
  return { facts, cloud: new Cloud(buffer) };
}

class MapPage {
  constructor(host, { labels, version, stale }, fields, cloud, signal) {
    Object.assign(this, { cloud, labels, signal });
    this.view = { x: 0.5, y: 0.5, scale: 1 };
    this.selected = null;
    this.marks = null;
    this.arriving = null;
    this.current = -1;
    this.lasso = null;
    this.zooming = null;
    this.shownThumbnails = [];
    this.thumbnails = new Thumbnails(() => this.draw());
    this.still = matchMedia('(prefers-reduced-motion: reduce)').matches;
    this.keep = settled(() => !signal.aborted && this.writeAddress(), 250);
    const changed = (byHand) => this.changed(byHand);
    this.colouring = new Colouring({ cloud, labels, fields, version, signal, changed });
    this.ranging = new Ranging({ cloud, fields, version, signal, changed });
    this.build(host, stale);
    this.resize();
    new ResizeObserver(() => this.resize()).observe(this.stage);
    this.listen();
  }

  build(host, stale) {
    this.points = el('canvas', { class: 'points', 'aria-hidden': 'true' });
    this.over = el('canvas', { class: 'over', tabindex: '0', role: 'application', 'aria-label':
      'Map of the gallery. Arrow keys move, plus and minus zoom, 0 shows all. Enter searches with the image in the middle, space selects it.' });
    this.card = el('div', { class: 'card', hidden: true });
    this.status = el('p', { id: 'status', role: 'status', class: 'map-status' });
    this.lassoButton = button({ icon: 'lasso', label: 'Select by drawing around', class: 'button', 'aria-pressed': 'false', click: () => this.toggleLasso() });
    this.tools = el('div', { class: 'tools', role: 'group', 'aria-label': 'Map' },
      button({ icon: 'plus', label: 'Zoom in', click: () => this.zoomBy(1.8) }),
      button({ icon: 'minus', label: 'Zoom out', click: () => this.zoomBy(1 / 1.8) }),
      button({ icon: 'whole', label: 'Show all', click: () => this.showAll() }), this.lassoButton);
    this.panel = selectionPanel(this.cloud, { clear: () => this.select([]), all: () => this.selectSeen(), filter: () => this.ranging.filter() });
    const choices = this.cloud.count > 0 && [this.colouring.node, this.ranging.node];
    this.stage = el('div', { id: 'map' }, this.points, this.over, this.tools, choices, this.card, this.status);
    host.append(this.stage, this.panel.node);
    this.paint = painterOn(this.points, this.cloud);
    const note = stale ? ' The newest images are not on it yet.' : '';
    this.status.textContent = `${plural(this.cloud.count, 'image')}.${note} Zoom in to see them; click one to search with it.`;
  }

  /** Other colours, another group, or another range. */
  changed(byHand) {
    if (!this.stage) return;
    this.mark();
    if (this.current >= 0 && !this.wanted(this.current)) this.point(-1);
    if (byHand) this.moved();
    else this.draw();
  }

  listen() {
    const { over } = this;
    over.addEventListener('keydown', (event) => this.onKey(event));
    over.addEventListener('blur', () => this.point(-1));
    over.addEventListener('wheel', (event) => {
      event.preventDefault();
      const step = event.deltaY * (event.deltaMode === 1 ? 16 : 1) * (event.ctrlKey ? 0.01 : 0.0022);
      this.zoomBy(Math.exp(-step), [event.offsetX, event.offsetY]);
    }, { passive: false });
    followPointers(over, {
      wantsOutline: () => this.lasso !== null,
      pan: (dx, dy) => this.panBy(dx, dy),
      pinch: (factor, place) => this.zoomNow(factor, place),
      hover: (place) => this.point(place ? this.pointAt(place) : -1),
      outline: (path, done) => this.outline(path, done),
      tap: (place, isTouch) => this.tap(this.pointAt(place), isTouch),
    });
    this.points.addEventListener('webglcontextlost', () => this.repaintPlainly());
  }

  /**
   * Shows the view of an address, unless that is where it came from. Until all of it is there, the
   * address stays as it is.
   */
  async show(url) {
    if (url.search === this.written) return;
    const [x, y] = (url.searchParams.get('at') ?? '').split(',').map(Number.parseFloat);
    const zoom = Number.parseFloat(url.searchParams.get('zoom'));
    this.showAll();
    if (Number.isFinite(x) && Number.isFinite(y) && zoom > 0) {
      this.view = { x, y, scale: this.fitting * Math.min(MAX_ZOOM, zoom) };
    }
    const parameters = url.searchParams;
    const by = parameters.get('by') ?? BY_LABEL;
    this.draw();
    this.arriving = url;
    await Promise.all([
      this.colouring.show(by, parameters.get(by === BY_LABEL ? 'label' : 'only')),
      this.ranging.show(parameters.get('range') ?? '', parameters.get('from'), parameters.get('to')),
    ]);
    if (this.arriving !== url) return;
    this.arriving = null;
    this.keep();
  }

  writeAddress() {
    if (this.arriving) return;
    const { x, y, scale } = this.view;
    const zoom = scale / this.fitting;
    const parameters = new URLSearchParams();
    if (Math.abs(zoom - 1) > 1e-3 || Math.abs(x - 0.5) + Math.abs(y - 0.5) > 1e-3) {
      parameters.set('at', `${x.toFixed(5)},${y.toFixed(5)}`);
      parameters.set('zoom', zoom.toFixed(3));
    }
    const { field, only, names } = this.colouring;
    if (field !== BY_LABEL) parameters.set('by', field);
    if (only >= 0) parameters.set(field === BY_LABEL ? 'label' : 'only', names[only]);
    if (this.ranging.field) parameters.set('range', this.ranging.field);
    const ends = this.ranging.ends();
    if (ends) ['from', 'to'].forEach((name, end) => parameters.set(name, ends[end]));
    const text = parameters.toString().replaceAll('%2C', ',').replaceAll('%3A', ':');
    this.written = text ? `?${text}` : '';
    go(`${pagePath('/map')}${this.written}`, { replace: true });
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const zoom = this.fitting ? this.view.scale / this.fitting : 1;
    Object.assign(this, { width, height, ratio: devicePixelRatio, fitting: 0.92 * Math.min(width, height) });
    this.view.scale = zoom * this.fitting;
    for (const canvas of [this.points, this.over]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    this.drawNow();
  }

  // Moving about.

  panBy(dx, dy) {
    this.view.x = clamp(this.view.x - dx / this.view.scale, -0.2, 1.2);
    this.view.y = clamp(this.view.y - dy / this.view.scale, -0.2, 1.2);
    this.moved();
  }

  /** Zooms by a factor, softly, about a place on the screen or its middle. */
  zoomBy(factor, place = [this.width / 2, this.height / 2]) {
    const goal = clamp((this.zooming?.goal ?? this.view.scale) * factor, 0.6 * this.fitting, MAX_ZOOM * this.fitting);
    this.zooming = { goal, place };
    this.draw();
  }

  zoomNow(factor, [px, py]) {
    const scale = clamp(this.view.scale * factor, 0.6 * this.fitting, MAX_ZOOM * this.fitting);
    const [dx, dy] = [px - this.width / 2, py - this.height / 2];
    this.view.x += dx / this.view.scale - dx / scale;
    this.view.y += dy / this.view.scale - dy / scale;
    this.view.scale = scale;
    this.moved();
  }

  stepZoom() {
    const { goal, place } = this.zooming;
    const left = goal / this.view.scale;
    const isNear = Math.abs(Math.log(left)) < 0.004;
    if (isNear || this.still) this.zooming = null;
    this.zoomNow(isNear || this.still ? left : left ** EASE, place);
  }

  showAll() {
    this.zooming = null;
    this.view = { x: 0.5, y: 0.5, scale: this.fitting };
    this.moved();
  }

  moved() {
    this.draw();
    this.keep();
  }

  // Pointing, searching, selecting.

  wanted = (point) => {
    const { only, groups } = this.colouring;
    return (only < 0 || groups[point] === only) && !this.ranging.hidden?.[point];
  };

  onScreen(point) {
    return [(this.cloud.x(point) - this.view.x) * this.view.scale + this.width / 2, (this.cloud.y(point) - this.view.y) * this.view.scale + this.height / 2];
  }

  onMap([px, py]) {
    return [(px - this.width / 2) / this.view.scale + this.view.x, (py - this.height / 2) / this.view.scale + this.view.y];
  }

  /** The point under a place on the screen: a thumbnail, or else the nearest dot. */
  pointAt(place, reach = REACH) {
    const over = this.shownThumbnails.findLast(({ left, top, width, height }) =>
      place[0] >= left && place[0] <= left + width && place[1] >= top && place[1] <= top + height);
    if (over) return over.point;
    return this.cloud.nearest(...this.onMap(place), reach / this.view.scale, this.wanted);
  }

  /** Shows which image a point is, -1 for none. */
  point(point) {
    if (point === this.current) return;
    this.current = point;
    this.over.style.cursor = point >= 0 && !this.lasso ? 'pointer' : '';
    this.card.hidden = point < 0;
    if (point >= 0) this.fillCard(point);
    this.draw();
  }

  fillCard(point) {
    const label = this.labels[this.cloud.label(point)];
    const { field } = this.colouring;
    const group = field !== BY_LABEL && this.colouring.nameOf(point);
    this.card.replaceChildren(
      el('img', { src: address.thumbnail(this.cloud.id(point)), alt: '', class: 'pixels' }),
      el('b', { text: label ?? '' }),
      ...(group ? [el('span', { text: `${field} ${group}` })] : []),
      el('a', { href: this.searchPath(point), text: 'Search with it' }));
  }

  placeCard() {
    const [x, y] = this.onScreen(this.current);
    this.card.classList.toggle('leftwards', x > this.width / 2);
    this.card.style.left = `${x}px`;
    this.card.style.top = `${clamp(y, 90, this.height - 90)}px`;
  }

  /** A finger first shows what it would search with. */
  tap(point, isTouch) {
    if (point < 0) return this.point(-1);
    if (isTouch && point !== this.current) return this.point(point);
    return this.search(point);
  }

  /** Coming back, one finds the map as it was left. */
  search(point) {
    this.writeAddress();
    go(this.searchPath(point));
  }

  /** Searches among those that are within the range. */
  searchPath(point) {
    return searchWithImage(this.cloud.id(point), newSearch({ filter: this.ranging.filter() }));
  }

  onKey(event) {
    const step = 60;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    const zooms = { '+': 1.5, '=': 1.5, '-': 1 / 1.5 };
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (moves[key]) this.panBy(...moves[key]);
    else if (zooms[key]) this.zoomBy(zooms[key]);
    else if (key === '0' || key === 'Home') this.showAll();
    else if (key === 'Escape') this.escape();
    else if (key === 'Enter' && this.current >= 0) this.search(this.current);
    else if (key === ' ' && this.current >= 0) this.toggleSelected(this.current);
    else return;
    event.preventDefault();
    if (moves[key] || zooms[key] || key === '0' || key === 'Home') this.pointAtMiddle();
  }

  /** With keys, of all that is seen what is nearest to the middle is meant. */
  pointAtMiddle() {
    const { x, y } = this.view;
    const point = this.cloud.nearest(x, y, Infinity, this.wanted, boxOf(this.view, this.width, this.height));
    this.point(point);
    if (point < 0) return;
    const label = this.labels[this.cloud.label(point)];
    this.status.textContent = `In the middle: ${label ?? 'an image without a label'}`;
  }

  escape() {
    if (this.lasso) this.toggleLasso();
    else this.select([]);
  }

  toggleLasso() {
    this.lasso = this.lasso ? null : [];
    this.lassoButton.setAttribute('aria-pressed', String(this.lasso !== null));
    this.over.classList.toggle('lasso', this.lasso !== null);
    if (this.lasso) this.status.textContent = 'Draw around the images to select.';
    this.draw();
  }

  /** Follows the outline that is drawn, and selects what is within once it is `done`. */
  outline(path, done) {
    this.lasso = done ? [] : path;
    if (done && path.length > 2) this.select(this.cloud.inPolygon(path.map((place) => this.onMap(place)), this.wanted));
    this.draw();
  }

  selectSeen() {
    const found = [];
    this.cloud.inBox(boxOf(this.view, this.width, this.height), (point) => this.wanted(point) && found.push(point));
    this.select(found);
  }

  toggleSelected(point) {
    const others = this.panel.points.filter((other) => other !== point);
    this.select(others.length === this.panel.points.length ? [...others, point] : others);
  }

  select(points) {
    this.selected = points.length ? new Uint8Array(this.cloud.count) : null;
    for (const point of points) this.selected[point] = 1;
    this.mark();
    this.panel.show(points);
    this.status.textContent = points.length ? `${whole(points.length)} selected.` : 'Nothing is selected.';
    this.draw();
  }

  /** Notes for each point what the painter must know of it. */
  mark() {
    const [{ selected }, { hidden }] = [this, this.ranging];
    this.marks = selected || hidden ? Uint8Array.from({ length: this.cloud.count }, (_, point) => (selected?.[point] ? SELECTED : 0) | (hidden?.[point] ? HIDDEN : 0)) : null;
  }

  // Drawing.

  draw() {
    this.frame ??= requestAnimationFrame(() => this.drawNow());
  }

  drawNow() {
    this.frame = null;
    if (this.signal.aborted || !this.width) return;
    if (this.zooming) this.stepZoom();
    const { view, width, height, ratio, marks, colouring: { groups, colours, only } } = this;
    this.paint({ view, width, height, ratio, size: this.dotSize(), groups, colours, only, marks, selecting: this.selected !== null });
    this.drawOver();
  }

  /** Dots grow as they get further apart, so that they are neither dust nor a pulp. */
  dotSize() {
    const apart = this.view.scale / Math.sqrt(this.cloud.count);
    return clamp(0.55 * apart, 2.2, 9);
  }

  drawOver() {
    const context = this.over.getContext('2d');
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    this.drawThumbnails(context);
    if (this.current >= 0) {
      this.drawRing(context, this.current);
      this.placeCard();
    }
    if (this.lasso?.length) drawOutline(context, this.lasso);
  }

  drawThumbnails(context) {
    this.shownThumbnails = [];
    const zoom = this.view.scale / this.fitting;
    if (zoom < THUMBNAIL_ZOOM && this.cloud.count > FEW) return;
    const box = boxOf(this.view, this.width, this.height);
    // Squares of the map whose sides are powers of two keep their thumbnail while one moves about.
    const cell = 2 ** Math.ceil(Math.log2((THUMBNAIL * 1.15) / this.view.scale));
    const points = this.cloud.onePerCell(box, cell, (point) => this.wanted(point) && (!this.selected || this.selected[point]));
    const pictures = this.thumbnails.get(points.map((point) => this.cloud.id(point)));
    pictures.forEach((found, i) => found?.picture && this.drawThumbnail(context, points[i], found));
  }

  drawThumbnail(context, point, { picture, since }) {
    const size = THUMBNAIL / Math.max(picture.naturalWidth, picture.naturalHeight);
    const [width, height] = [picture.naturalWidth * size, picture.naturalHeight * size];
    const [x, y] = this.onScreen(point);
    const [left, top] = [x - width / 2, y - height / 2];
    const age = this.still ? 1 : (performance.now() - since) / FADE;
    context.globalAlpha = Math.min(1, age);
    context.imageSmoothingEnabled = size < 1.5;
    context.fillStyle = this.colouring.colourOf(point);
    context.fillRect(left - 2, top - 2, width + 4, height + 4);
    context.drawImage(picture, left, top, width, height);
    context.globalAlpha = 1;
    this.shownThumbnails.push({ point, left, top, width, height });
    if (age < 1) this.draw();
  }

  drawRing(context, point) {
    const [x, y] = this.onScreen(point);
    context.beginPath();
    context.arc(x, y, this.dotSize() / 2 + 5, 0, 2 * Math.PI);
    context.lineWidth = 3;
    context.strokeStyle = getComputedStyle(this.stage).color;
    context.stroke();
  }

  /** Where the graphics card has given up, a fresh canvas is painted without it. */
  repaintPlainly() {
    const fresh = el('canvas', { class: 'points', 'aria-hidden': 'true' });
    fresh.getContext('2d');
    this.points.replaceWith(fresh);
    this.points = fresh;
    this.paint = painterOn(fresh, this.cloud);
    this.resize();
    toast('The graphics card gave up; the map is drawn without it.');
  }
}

function drawOutline(context, path) {
  context.beginPath();
  path.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  context.fillStyle = 'rgb(122 111 240 / 0.18)';
  context.fill();
  context.lineWidth = 2;
  context.strokeStyle = PLAIN;
  context.stroke();
}

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));
