// What the gallery and its model are, how good they are, and adding images.

import { get, getPatiently, remove } from './api.js';
import { adding } from './adding.js';
import { curve } from './curve.js';
import { button, complain, el, nameOfGallery, percent, plural, short, whole } from './dom.js';
import { waiting } from './progress.js';
import { ask } from './session.js';

const DIFFUSION = { absent: 'not prepared', fresh: 'ready', stale: 'ready, newest images apart' };

export function mount(host, { facts, signal }) {
  const about = el('dl', { class: 'facts' });
  const quality = el('div', {});
  const fill = (now) => about.replaceChildren(...galleryFacts(now));
  const refresh = async () => fill(Object.assign(facts, await get('/gallery', {}, signal)));
  fill(facts);
  host.append(
    el('div', { class: 'intro' }, el('h1', { text: nameOfGallery(facts) })),
    el('div', { class: 'columns' },
      adding({ facts, signal, done: () => refresh().catch(complain) }),
      el('section', { 'aria-labelledby': 'about' }, el('h2', { id: 'about', text: 'Gallery' }), about),
      facts.model && modelSection(facts.model),
      el('section', { 'aria-labelledby': 'quality' }, el('h2', { id: 'quality', text: 'Quality' }), quality),
      accessSection(facts)));
  refresh().catch(complain);
  showQuality(quality, signal);
  return {};
}

const row = ([name, value]) => el('div', {}, el('dt', { text: name }), el('dd', { text: value }));

function galleryFacts({ gallery, program }) {
  return [
    ['Images', whole(gallery.points)],
    ['Indexed for fast search', gallery.indexed >= gallery.points ? 'all' : whole(gallery.indexed)],
    ['Compared by', gallery.metric],
    ['Numbers in a code', whole(gallery.dims)],
    ['Diffusion', DIFFUSION[gallery.diffusion] ?? gallery.diffusion],
    ['Created', dateOf(gallery.created)],
    ['Program', `${program.name} ${program.version}`],
  ].map(row);
}

function modelSection(model) {
  const { channels, height, width } = model.shape;
  const sees = ['Sees', `${width} × ${height} pixels, ${channels === 1 ? 'grey' : 'in colour'}`];
  const code = ['Code', plural(model.code_dim, 'number')];
  const section = (rows, ...more) =>
    el('section', { 'aria-labelledby': 'model' }, el('h2', { id: 'model', text: 'Model' }), el('dl', { class: 'facts' }, rows.map(row)), ...more);
  if (model.architecture === undefined) {
    return section([['Trained by', 'others'], sees, code]);
  }
  return section([
    ['Learnt from', `${plural(model.images, 'image')} of ${model.data_set}`],
    sees,
    ['Kind', `${model.architecture}, ${model.objective}`],
    ...(model.joined_with === undefined ? [] : [['Joined with', `${model.joined_with}, trained by others`]]),
    code,
    ['Parameters', whole(model.parameters)],
    ['Training took', duration(model.seconds)],
  ], curve({ values: model.epochs.map(({ loss }) => loss), name: model.loss, baseline: model.mean_image_loss }));
}

async function showQuality(host, signal) {
  const progress = waiting('Measuring the quality');
  host.append(progress.node);
  try {
    const found = await getPatiently('/quality', {}, signal, progress.tell);
    host.replaceChildren(...(found.labelled ? qualityFacts(found) : [el('p', { text: 'The images have no labels, so there is nothing to measure by.' })]));
  } catch (error) {
    if (error.name !== 'AbortError') progress.fail(error);
  }
}

function qualityFacts(found) {
  const rows = [
    ['The nearest has the same label', found.precision_at_1],
    ['Of the five nearest, have it', found.precision_at_5],
    ['All five have it', found.all_5],
    ['Mean average precision', found.mean_average_precision],
  ].filter(([, share]) => typeof share === 'number');
  return [
    el('dl', { class: 'facts bars' }, rows.map(([name, share]) => el('div', {},
      el('dt', { text: name }), el('dd', {}, el('meter', { min: 0, max: 1, value: share, 'aria-label': name }), el('span', { text: percent(share) }))))),
    el('p', { class: 'faint', text: `Measured on ${plural(found.queries, 'image')}, each a query against all others. The model has never seen a label.` }),
  ];
}

/** Whether one is signed in, for adding and removing. */
function accessSection({ access }) {
  const reload = () => location.reload();
  const leave = () => remove('/session').then(reload, complain);
  return el('section', { 'aria-labelledby': 'access' }, el('h2', { id: 'access', text: 'Access' }),
    el('p', { text: access.signed_in ? 'You are signed in and can add images.' : 'Adding images may need the token that the server printed.' }),
    access.signed_in ? button({ text: 'Sign out', click: leave }) : button({ text: 'Sign in', click: async () => (await ask()) && reload() }));
}

/** A time in seconds since 1970. */
const dateOf = (seconds) => new Date(1000 * seconds).toLocaleString('en-GB', { dateStyle: 'long', timeStyle: 'short' });

function duration(seconds) {
  if (seconds < 90) return `${short(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
