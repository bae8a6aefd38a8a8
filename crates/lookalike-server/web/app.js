// The start of the page, and which page an address means.

import { get } from './api.js';
import { pagePath, placeOf } from './base.js';
import { complain, el, button } from './dom.js';
import { startIntake } from './intake.js';
import { ask, startSession } from './session.js';
import { asksForSomething, go, onArrival, readSearch } from './state.js';

/**
 * Each page: its name in the title, the module that shows it, loaded when it is first needed, and
 * the function that does.
 */
const PAGES = {
  '/': ['Search', () => import('./start.js'), 'mount'],
  '/?': ['Results', () => import('./search.js'), 'mount'],
  '/map': ['Map', () => import('./map.js'), 'mount'],
  '/groups': ['Groups', () => import('./groups.js'), 'mount'],
  '/duplicates': ['Duplicates', () => import('./tidy.js'), 'duplicates'],
  '/outliers': ['Outliers', () => import('./tidy.js'), 'outliers'],
  '/sample': ['Sample', () => import('./tidy.js'), 'sample'],
  '/quality': ['Quality', () => import('./quality.js'), 'mount'],
  '/labels': ['Labels', () => import('./labels.js'), 'mount'],
  '/gallery': ['Gallery', () => import('./gallery.js'), 'mount'],
  '/api': ['API', () => import('./reference.js'), 'mount'],
};

const main = document.getElementById('main');
let facts = null;
let shown = { key: null, page: null, leave: null };

await startSession();
await start();

async function start() {
  try {
    facts = await get('/gallery');
    if (facts.access.reads_need_token && !facts.access.signed_in) {
      if (!(await ask())) throw new Error('Looking at this gallery needs the token that the server printed.');
      facts = await get('/gallery');
    }
  } catch (error) {
    return sorry(error);
  }
  startIntake(facts);
  onArrival(show);
  document.addEventListener('click', followLink);
  return show(0);
}

/** Shows the page of the address; `top` is how far down it is scrolled, null as it is. */
async function show(top) {
  const key = keyOf(new URL(location.href));
  try {
    if (key !== shown.key) await open(key);
    if (key !== shown.key) return;
    // The address may have changed again while the module was loaded.
    await shown.page?.update?.(new URL(location.href));
    if (top !== null) scrollTo({ top, behavior: 'instant' });
  } catch (error) {
    complain(error);
  }
}

function keyOf(url) {
  const place = placeOf(url.pathname);
  if (place === '/' && asksForSomething(readSearch(url))) return '/?';
  return PAGES[place] ? place : '/';
}

async function open(key) {
  shown.leave?.abort();
  const leave = new AbortController();
  const isFirst = shown.key === null;
  shown = { key, page: null, leave };
  markCurrent(key);
  const [name, load, mount] = PAGES[key];
  const module = await load();
  if (leave.signal.aborted) return;
  main.replaceChildren();
  main.className = `page-${name.toLowerCase()}`;
  shown.page = module[mount](main, { facts, signal: leave.signal });
  if (!isFirst) main.focus({ preventScroll: true });
}

function markCurrent(key) {
  document.title = key === '/' ? 'Lookalike' : `${PAGES[key][0]} – Lookalike`;
  for (const link of document.querySelectorAll('.pages a')) {
    if (link.pathname === pagePath(key.replace('?', ''))) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

/** Links within the page need not load it again. */
function followLink(event) {
  const link = event.target.closest?.('a[href]');
  const wantsMore = event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
  if (!link || wantsMore || event.defaultPrevented || link.target || link.origin !== location.origin) return;
  if (!PAGES[placeOf(link.pathname)] || link.hash) return;
  event.preventDefault();
  go(link.pathname + link.search);
}

function sorry(error) {
  main.replaceChildren(el('div', { class: 'sorry', role: 'alert' },
    el('h1', { text: 'This did not work' }), el('p', { text: error.message }),
    button({ text: 'Try again', class: 'button strong', click: start })));
}
