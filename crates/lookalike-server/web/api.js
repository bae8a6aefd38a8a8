// The HTTP API: requests, problems, waiting for what takes long. Nothing here knows of the page.

import { BASE } from './base.js';

const ROOT = `${BASE}/api/v1`;
/** How often a busy server is asked again, and how long it is waited for at most each time. */
const TRIES = 3;
const MAX_WAIT = 10_000;

/** What the server, or the way to it, had against a request. `message` is for people. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let askForToken = async () => false;
let inFlight = 0;

/** Sets what is done when a token is needed; it resolves to whether there is one now. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

/**
 * The contents of images, by their ids, as far as they are known: asked for by its content, a
 * picture may be kept for ever.
 */
const contents = new Map();

/** Notes the content of an image that the server told of. */
export const noteContent = ({ id, blake3 }) => contents.set(id, blake3.slice(0, 16));

const picture = (id, kind) => withQuery(`${ROOT}/images/${id}/${kind}`, { v: contents.get(id) });

/** Addresses for `src` attributes. */
export const address = {
  thumbnail: (id) => picture(id, 'thumbnail'),
  original: (id) => picture(id, 'original'),
  upload: (hash) => `${ROOT}/queries/${encodeURIComponent(hash)}`,
};

/** `path` with those of `parameters` that are set. */
export function withQuery(path, parameters) {
  const set = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return set.length ? `${path}?${new URLSearchParams(set)}` : path;
}

/** The JSON at a path. */
export async function get(path, parameters = {}, signal = undefined) {
  return (await request('GET', withQuery(path, parameters), { signal })).json();
}

/** The bytes at a path. */
export async function getBytes(path, parameters = {}, signal = undefined) {
  return (await request('GET', withQuery(path, parameters), { signal })).arrayBuffer();
}

/** Sends JSON or a form, and reads JSON. */
export async function post(path, body, signal = undefined) {
  const response = await request('POST', path, { body, signal });
  return response.status === 204 ? null : response.json();
}

/** Replaces by JSON, and reads JSON. */
export async function put(path, body) {
  return (await request('PUT', path, { body })).json();
}

/** Sends JSON, and reads a picture. */
export async function postForPicture(path, body, signal = undefined) {
  return (await request('POST', path, { body, signal })).blob();
}

/** Deletes; there is no answer to read. */
export async function remove(path) {
  await request('DELETE', path, {});
}

/**
 * The JSON of something that takes long: asks again as often as the server says, telling `progress`
 * each time.
 */
export const getPatiently = (path, parameters, signal, progress) => patiently('GET', path, parameters, signal, progress);

/** The same for something that changes the gallery, and may be asked for again. */
export const putPatiently = (path, parameters, signal, progress) => patiently('PUT', path, parameters, signal, progress);

async function patiently(method, path, parameters, signal, progress) {
  for (;;) {
    const response = await request(method, withQuery(path, parameters), { signal });
    const body = await response.json();
    if (response.status !== 202) return body;
    progress(body);
    await pause(retryAfter(response, 1), signal);
  }
}

/** Whether the token is right; then the server remembers it for this browser. */
export async function signIn(token) {
  await request('POST', '/session', { body: { token }, mayAsk: false });
}

async function request(method, path, { body, signal, mayAsk = true }) {
  busy(1);
  try {
    return await attempts(method, path, body, signal, mayAsk);
  } finally {
    busy(-1);
  }
}

async function attempts(method, path, body, signal, mayAsk) {
  for (let attempt = 1; ; attempt++) {
    const response = await send(method, path, body, signal);
    if (response.ok) return response;
    const isBusy = response.status === 429 || response.status === 503;
    if (isBusy && attempt < TRIES) {
      await pause(retryAfter(response, 1), signal);
    } else if (response.status === 401 && mayAsk && attempt < TRIES && (await askForToken())) {
      continue;
    } else {
      throw await problem(response);
    }
  }
}

async function send(method, path, body, signal) {
  const isForm = body instanceof FormData;
  const headers = body && !isForm ? { 'Content-Type': 'application/json' } : {};
  try {
    return await fetch(ROOT + path, { method, headers, signal, body: body && !isForm ? JSON.stringify(body) : body });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, 'The server does not answer. See that it is still running, then try again.');
  }
}

async function problem(response) {
  const body = await response.json().catch(() => ({}));
  return new Problem(response.status, sentence(body.detail || body.title || `the server answered ${response.status}`));
}

/** What the server says, such as "a code is not a picture", as a sentence of its own. */
export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…)]$/.test(text) ? '' : '.');
}

function retryAfter(response, otherwise) {
  const seconds = Number(response.headers.get('Retry-After') ?? otherwise);
  return Math.min(MAX_WAIT, 1000 * (Number.isFinite(seconds) ? seconds : otherwise));
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

function busy(change) {
  inFlight += change;
  document.documentElement.classList.toggle('busy', inFlight > 0);
}
