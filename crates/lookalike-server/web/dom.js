// Making elements. Data only ever becomes text or attributes here, never markup: names and labels
// may be hostile.

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element. `props` are attributes, except `text`, `class`, `data` (an object of data-*
 * attributes), `style` (an object of CSS properties) and `on` (an object of listeners). `true` and
 * `false` set and omit an attribute.
 */
export function el(tag, props = {}, ...children) {
  return furnish(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), props, children);
}

function furnish(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'text') node.textContent = value;
    else if (name === 'class') node.setAttribute('class', value);
    else if (name === 'data') Object.assign(node.dataset, value);
    else if (name === 'style') setStyle(node, value);
    else if (name === 'on') listen(node, value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function setStyle(node, properties) {
  for (const [name, value] of Object.entries(properties)) node.style.setProperty(name, value);
}

function listen(node, listeners) {
  for (const [type, listener] of Object.entries(listeners)) node.addEventListener(type, listener);
}

/** An icon of the sprite in index.html. */
export function icon(name) {
  return svg('svg', { class: 'icon', 'aria-hidden': 'true' }, svg('use', { href: `#i-${name}` }));
}

/** A button with an icon, a text, or both. `label` names a button that shows an icon only. */
export function button({ text, label, icon: name, class: style = 'button', click, ...rest }) {
  const props = { type: 'button', class: style, 'aria-label': label, title: label, on: click && { click }, ...rest };
  return el('button', props, name && icon(name), text && el('span', { text }));
}

const WHOLE = new Intl.NumberFormat('en-GB');
const SHORT = new Intl.NumberFormat('en-GB', { maximumSignificantDigits: 3 });

/** 12345 as 12,345. */
export const whole = (number) => WHOLE.format(number);

/** Three significant digits. */
export const short = (number) => (Math.abs(number) < 5e-7 ? '0' : SHORT.format(number));

/** A share from 0 to 1 in percent. */
export const percent = (share) => `${SHORT.format(share * 100)} %`;

/** "1 image", "2 images". */
export const plural = (number, one, many = `${one}s`) => `${whole(number)} ${number === 1 ? one : many}`;

/** What the gallery is called: the last part of where it lies. */
export const nameOfGallery = ({ gallery }) => gallery.name.split(/[\\/]/).filter(Boolean).at(-1) ?? gallery.name;

/** Calls `act` at once and then at most every `pause` ms, always with the latest arguments. */
export function throttled(act, pause) {
  let timer = null;
  let waiting = null;
  const next = () => {
    timer = null;
    if (!waiting) return;
    const args = waiting;
    waiting = null;
    timer = setTimeout(next, pause);
    act(...args);
  };
  return (...args) => {
    waiting = args;
    if (timer === null) next();
  };
}

/** Calls `act` once `pause` ms have gone by without another call. */
export function settled(act, pause) {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...args), pause);
  };
}

/**
 * A few words in the corner that go away by themselves; errors stay longer and are read out at
 * once.
 */
export function toast(text, { error = false } = {}) {
  const close = () => note.remove();
  const note = el('div', { class: error ? 'toast error' : 'toast', role: error ? 'alert' : 'status' },
    el('p', { text }), button({ icon: 'close', label: 'Dismiss', class: 'bare', click: close }));
  const shown = document.getElementById('toasts');
  for (const other of [...shown.children]) if (other.firstChild.textContent === text) other.remove();
  shown.append(note);
  setTimeout(close, error ? 12000 : 5000);
}

/** Says what went wrong; what was given up on purpose is not worth a word. */
export function complain(error) {
  if (error.name === 'AbortError') return;
  if (!error.status) console.error(error);
  toast(error.message, { error: true });
}
