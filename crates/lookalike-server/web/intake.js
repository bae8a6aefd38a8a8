// Every way in for a picture: drop, paste, chooser, camera, address. What came in is sent to the
// server as a query.

import { address, get, noteContent, post } from './api.js';
import { complain, el, icon, button, toast } from './dom.js';
import { go, newSearch, searchPath } from './state.js';

/**
 * Pictures that were sent from here are kept at hand, to show them at once and to send them again;
 * the newest so many.
 */
const KEPT = 12;
/** More pictures than this make no better examples. */
const MAX_EXAMPLES = 10;

const sent = new Map();
const sizes = new Map();
let facts = null;
let receive = searchWith;
let dropText = 'Drop to find what looks like it';

/** Listens for pictures on the whole page. `gallery` is the answer to GET /gallery. */
export function startIntake(gallery) {
  facts = gallery;
  addEventListener('paste', onPaste);
  startDropping();
  for (const id of ['file', 'camera']) {
    const input = document.getElementById(id);
    input.addEventListener('change', () => {
      const files = [...input.files];
      input.value = '';
      searchWith(files);
    });
  }
  document.getElementById('new-picture').addEventListener('click', chooseFile);
}

/**
 * Until `signal` aborts, pictures that are dropped or pasted go to `receiver` instead of being
 * searched with.
 */
export function receiveInstead(receiver, text, signal) {
  const usual = [receive, dropText];
  [receive, dropText] = [receiver, text];
  signal.addEventListener('abort', () => ([receive, dropText] = usual));
}

/** Opens the file chooser. */
export function chooseFile() {
  document.getElementById('file').click();
}

/** The buttons and the field by which a picture is given. */
export function waysIn() {
  const camera = () => document.getElementById('camera').click();
  const buttons = el('div', { class: 'ways' },
    button({ text: 'Choose a picture', icon: 'upload', class: 'button strong', click: chooseFile }),
    button({ text: 'Take a photo', icon: 'camera', class: 'button touch-only', click: camera }));
  return [buttons, facts.model.text && wordsField(), facts.fetch_urls && addressField()].filter(Boolean);
}

/** A field to ask in words, for galleries whose encoder has learned words too. */
export function wordsField(words = '') {
  const field = el('input', { type: 'search', name: 'text', id: 'text', required: true, maxlength: 1000, value: words, placeholder: 'or say what it shows', 'aria-label': 'What the pictures show' });
  const submit = (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (text) go(searchPath(newSearch({ q: { text } })));
  };
  return el('form', { class: 'address', on: { submit } },
    field, el('button', { class: 'button' }, icon('search'), el('span', { text: 'Search' })));
}

function addressField() {
  const field = el('input', { type: 'url', name: 'url', required: true, placeholder: 'https://…', 'aria-label': 'Address of a picture' });
  const submit = (event) => {
    event.preventDefault();
    searchWithAddress(field.value.trim());
  };
  return el('form', { class: 'address', on: { submit } },
    field, el('button', { class: 'button' }, icon('search'), el('span', { text: 'Search' })));
}

/** Sends pictures and shows what looks like them: one is a query, several are examples. */
export async function searchWith(files) {
  const pictures = files.filter(isPicture).slice(0, MAX_EXAMPLES);
  if (!pictures.length) return toast('That is not a picture. JPEG, PNG, WebP, GIF, BMP and TIFF can be searched with.', { error: true });
  document.documentElement.classList.add('sending');
  try {
    const queries = [];
    for (const file of pictures) queries.push(await send(file));
    const refs = queries.map(({ upload }) => ({ upload }));
    go(searchPath(newSearch(refs.length > 1 ? { like: refs } : { q: refs[0], size: [queries[0].width, queries[0].height] })));
  } catch (error) {
    complain(error);
  } finally {
    document.documentElement.classList.remove('sending');
  }
}

async function searchWithAddress(url) {
  try {
    const { upload, width, height } = await post('/queries', { url });
    go(searchPath(newSearch({ q: { upload }, size: [width, height] })));
  } catch (error) {
    complain(error);
  }
}

async function send(file) {
  if (file.size > facts.limits.body_bytes) {
    throw new Error(`${file.name} is larger than the ${Math.floor(facts.limits.body_bytes / 2 ** 20)} MiB that the server takes. Make it smaller.`);
  }
  const form = new FormData();
  form.append('image', file, file.name || 'picture');
  const query = await post('/queries', form);
  remember(query, file);
  return query;
}

function remember(query, file) {
  if (!sent.has(query.upload)) sent.set(query.upload, { file, url: URL.createObjectURL(file) });
  sizes.set(query.upload, [query.width, query.height]);
  if (sent.size <= KEPT) return;
  const [oldest, { url }] = sent.entries().next().value;
  sent.delete(oldest);
  URL.revokeObjectURL(url);
}

/** Sends a picture again that the server no longer keeps. Whether it could be. */
export async function sendAgain({ upload }) {
  const kept = upload && sent.get(upload);
  return Boolean(kept) && (await send(kept.file)).upload === upload;
}

/** Where the picture of a reference can be had from, the best first. */
export function pictureSources(ref) {
  if (ref.id) return [address.original(ref.id), address.thumbnail(ref.id)];
  const kept = sent.get(ref.upload);
  return kept ? [kept.url, address.upload(ref.upload)] : [address.upload(ref.upload)];
}

/** A small picture of a reference. */
export const smallSource = (ref) => (ref.id ? address.thumbnail(ref.id) : pictureSources(ref)[0]);

/**
 * An `img` of a reference that falls back on the next source; `failed` is called when there is none
 * left.
 */
export function pictureOf(ref, props = {}, failed = () => {}) {
  const sources = pictureSources(ref);
  const picture = el('img', { alt: '', decoding: 'async', ...props, src: sources.shift() });
  picture.addEventListener('error', () => {
    if (sources.length) picture.src = sources.shift();
    else failed();
  });
  return picture;
}

/**
 * What is known about the image of the gallery that a reference means; null for pictures that were
 * sent.
 */
export async function imageOf(ref, signal) {
  if (!ref.id) return null;
  const image = await get(`/images/${ref.id}`, {}, signal);
  noteContent(image);
  return image;
}

/** The size of a picture that was sent from here, if it was. */
export const sizeOfSent = (ref) => sizes.get(ref.upload) ?? null;

function startDropping() {
  const overlay = document.getElementById('dropping');
  let depth = 0;
  const show = (change) => {
    depth = Math.max(0, change === 0 ? 0 : depth + change);
    overlay.hidden = depth === 0;
    overlay.firstElementChild.textContent = dropText;
  };
  addEventListener('dragenter', (event) => carriesPicture(event) && show(1));
  addEventListener('dragleave', (event) => carriesPicture(event) && show(-1));
  addEventListener('dragover', (event) => carriesPicture(event) && event.preventDefault());
  addEventListener('drop', (event) => {
    if (!carriesPicture(event)) return;
    event.preventDefault();
    show(0);
    take(event.dataTransfer, event.target);
  });
}

/**
 * Files from the desktop and pictures or links from elsewhere; an image of this page is left to the
 * browser.
 */
function carriesPicture({ dataTransfer }) {
  const types = dataTransfer?.types ?? [];
  return types.includes('Files') || (facts.fetch_urls && types.includes('text/uri-list'));
}

function onPaste(event) {
  if (event.target.closest?.('input, textarea')) return;
  take(event.clipboardData);
}

function take(transfer) {
  const text = (transfer.getData('text/uri-list') || transfer.getData('text/plain')).trim();
  const own = galleryImage(text);
  if (own) return go(searchPath(newSearch({ q: { id: own } })));
  if (transfer.files.length) return receive([...transfer.files]);
  if (facts.fetch_urls && /^https?:\/\/\S+$/.test(text)) return searchWithAddress(text);
  return undefined;
}

/** The id in an address of an image of this gallery, such as one gets by dragging an answer. */
function galleryImage(text) {
  if (!text.startsWith(location.origin)) return null;
  return /(?:\/images\/|id:)([0-9a-f-]{36})/.exec(text)?.[1] ?? null;
}

/** Some systems know no type for TIFF; the server looks at the bytes anyway. */
const isPicture = (file) => file.type.startsWith('image/') || file.type === '';
