// Adding images to the gallery: many files, a few at a time, with what became of each.

import { post } from './api.js';
import { button, el, plural } from './dom.js';
import { receiveInstead } from './intake.js';
import { forgetAnswers } from './results.js';
import { searchWithImage } from './tiles.js';

/** Files of a request, and requests at a time. Small enough that progress is seen to be made. */
const FILES = 8;
const REQUESTS = 2;
/** Room that the rest of a form takes, in bytes. */
const AROUND = 64 * 1024;

const STATUS = { added: 'added', changed: 'replaced', unchanged: 'was there already', failed: 'failed' };

/** The section that takes images; `done` is called when a lot has been added. */
export function adding({ facts, signal, done }) {
  const files = chooser({ id: 'add-files', accept: 'image/*,.tif,.tiff' });
  const folder = chooser({ id: 'add-folder', webkitdirectory: true });
  const label = el('input', { type: 'text', id: 'add-label', autocomplete: 'off' });
  const bar = el('progress', { 'aria-label': 'Images sent' });
  const words = el('p', { role: 'status' });
  const stop = button({ text: 'Stop' });
  const progress = el('div', { class: 'row wrap', hidden: true }, bar, words, stop);
  const list = el('ul', { id: 'added' });
  const node = el('section', { id: 'add', 'aria-labelledby': 'add-title' },
    el('h2', { id: 'add-title', text: 'Add images' }),
    el('div', { class: 'drop-area' },
      el('p', { text: 'Drop images anywhere on this page, or choose them. They can be found as soon as they are added.' }),
      el('div', { class: 'ways' },
        button({ text: 'Choose images', icon: 'upload', class: 'button strong', click: () => files.click() }),
        button({ text: 'Choose a folder', icon: 'gallery', class: 'button fine-only', click: () => folder.click() })),
      el('label', { class: 'inline', for: 'add-label' }, el('span', { text: 'Label them (if you like)' }), label)),
    files, folder, progress, list);

  const add = async (chosen) => {
    const lot = new Lot(chosen.filter(mayBePicture), { facts, list, label: label.value.trim() });
    stop.onclick = () => lot.stop();
    progress.hidden = false;
    await lot.send(({ sent, all, counts }) => {
      Object.assign(bar, { max: all || 1, value: sent });
      words.textContent = `${sent} of ${plural(all, 'image')}${summary(counts)}`;
    });
    stop.hidden = true;
    forgetAnswers();
    done();
  };
  const addNext = inTurn((chosen) => {
    stop.hidden = false;
    return add(chosen);
  });
  for (const input of [files, folder]) {
    input.addEventListener('change', () => {
      const chosen = [...input.files];
      input.value = '';
      addNext(chosen);
    });
  }
  receiveInstead(addNext, 'Drop to add to the gallery', signal);
  return node;
}

const chooser = (props) => el('input', { type: 'file', multiple: true, hidden: true, 'aria-label': 'Images to add', ...props });

/** Calls `act` for one thing after the other. */
function inTurn(act) {
  let last = Promise.resolve();
  return (thing) => (last = last.then(() => act(thing)));
}

/** Files that are sent together. */
class Lot {
  constructor(files, { facts, list, label }) {
    this.label = label;
    this.most = facts.limits.body_bytes - AROUND;
    this.batches = batches(files, Math.min(FILES, facts.limits.most_files), this.most);
    this.all = files.length;
    this.sent = 0;
    this.counts = {};
    this.list = list;
    this.leave = new AbortController();
  }

  stop() {
    this.batches = [];
    this.leave.abort();
  }

  /** Sends all batches, telling `progress` after each. */
  async send(progress) {
    progress(this);
    const worker = async () => {
      while (this.batches.length) {
        const batch = this.batches.shift();
        this.report(batch, await this.sendBatch(batch));
        progress(this);
      }
    };
    await Promise.all(Array.from({ length: REQUESTS }, worker));
  }

  async sendBatch(batch) {
    if (batch[0].size > this.most) {
      return batch.map((file) => failed(file, `It is larger than the ${Math.floor(this.most / 2 ** 20)} MiB that the server takes.`));
    }
    const form = new FormData();
    if (this.label) form.append('label', this.label);
    for (const file of batch) form.append('image', file, file.webkitRelativePath || file.name);
    try {
      return (await post('/images', form, this.leave.signal)).items;
    } catch (error) {
      // Without a token the rest would fail just the same.
      if (error.status === 401 || error.status === 403) this.batches = [];
      return batch.map((file) => failed(file, error.name === 'AbortError' ? 'It was stopped.' : error.message));
    }
  }

  report(batch, items) {
    this.sent += batch.length;
    for (const { status } of items) this.counts[status] = (this.counts[status] ?? 0) + 1;
    this.list.prepend(...items.map(reportItem));
  }
}

const failed = (file, detail) => ({ name: file.name, status: 'failed', detail });

function reportItem({ name, status, id, detail }) {
  return el('li', { class: `item ${status}` },
    el('span', { class: 'name', text: name, title: name }), el('b', { text: STATUS[status] ?? status }),
    detail && el('small', { text: detail }), id && el('a', { href: searchWithImage(id), text: 'Find it' }));
}

/**
 * Files in batches of so many and so many bytes; one that is larger by itself is a batch of its
 * own.
 */
function batches(files, most, bytes) {
  const all = [];
  let room = 0;
  for (const file of files) {
    const last = all.at(-1);
    if (last && last.length < most && file.size <= room) last.push(file);
    else all.push([file]);
    room = (all.at(-1) === last ? room : bytes) - file.size;
  }
  return all;
}

const summary = (counts) =>
  Object.entries(STATUS).filter(([status]) => counts[status]).map(([status, text]) => `, ${counts[status]} ${text}`).join('');

/** A folder holds other files too; what has no type may be a picture yet. */
const mayBePicture = (file) => (file.type === '' && !file.name.startsWith('.')) || file.type.startsWith('image/');
