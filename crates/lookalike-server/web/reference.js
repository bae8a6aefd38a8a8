// The API as a page to read, from its own description.

import { get } from './api.js';
import { pagePath } from './base.js';
import { complain, el } from './dom.js';

const METHODS = ['get', 'put', 'post', 'delete', 'patch'];

export function mount(host, { signal }) {
  get('/openapi.json', {}, signal).then((document) => {
    if (signal.aborted) return;
    host.append(...reference(document));
    scrollToHash();
  }, complain);
  return {};
}

function scrollToHash() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (id) document.getElementById(id)?.scrollIntoView();
}

function reference(api) {
  const resolve = resolver(api);
  const operations = operationsOf(api, resolve);
  const tags = tagsOf(api, operations);
  const base = api.servers?.[0]?.url ?? '';
  return [
    el('nav', { class: 'contents', 'aria-label': 'Contents' }, tags.map((tag) => contents(tag)), schemaContents(api)),
    el('div', { class: 'reference' },
      el('h1', { text: api.info.title }),
      paragraphs(api.info.description),
      el('p', { class: 'faint' }, `Version ${api.info.version}. `, base && ['All paths are below ', el('code', { text: base }), '. '], 'As JSON: ',
        el('a', { href: pagePath('/api/v1/openapi.json'), text: 'openapi.json' }), '.'),
      tags.map((tag) => tagSection(tag, resolve)), schemaSection(api)),
  ];
}

/** Follows `$ref` within the document. */
function resolver(api) {
  return (node) => {
    if (!node?.$ref) return node ?? {};
    const path = node.$ref.replace(/^#\//, '').split('/').map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
    return path.reduce((at, part) => at?.[part], api) ?? {};
  };
}

function operationsOf(api, resolve) {
  return Object.entries(api.paths ?? {}).flatMap(([path, item]) => METHODS.filter((method) => item[method]).map((method) => ({
    ...item[method], path, method, id: `${method}-${path}`,
    parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])].map(resolve),
  })));
}

/** The operations by their first tag, in the order of the document. */
function tagsOf(api, operations) {
  const described = new Map((api.tags ?? []).map((tag) => [tag.name, tag]));
  const names = new Set([...described.keys(), ...operations.map(({ tags }) => tags?.[0] ?? 'other')]);
  return [...names].map((name) => ({
    name, description: described.get(name)?.description, operations: operations.filter(({ tags }) => (tags?.[0] ?? 'other') === name),
  })).filter((tag) => tag.operations.length);
}

function contents({ name, operations }) {
  return el('section', {}, el('h2', { text: name }), el('ul', {}, operations.map(({ id, method, path }) =>
    el('li', {}, el('a', { href: `#${encodeURIComponent(id)}` }, methodMark(method), el('span', { text: path }))))));
}

function schemaContents(api) {
  const names = Object.keys(api.components?.schemas ?? {});
  return names.length > 0 && el('section', {}, el('h2', { text: 'Schemas' }),
    el('ul', {}, names.map((name) => el('li', {}, schemaLink(name)))));
}

function tagSection({ name, description, operations }, resolve) {
  return el('section', { class: 'tag' }, el('h2', { text: name }), paragraphs(description), operations.map((operation) => operationSection(operation, resolve)));
}

function operationSection({ id, method, path, summary, description, parameters, requestBody, responses, security }, resolve) {
  const body = resolve(requestBody);
  return el('article', { id, class: 'operation' },
    el('h3', {}, methodMark(method), el('code', { text: path })),
    el('p', {}, el('b', { text: summary ?? '' }), security?.length ? el('small', { text: ' needs the token' }) : ''),
    paragraphs(description),
    parameters.length > 0 && table('Parameters', parameters.map(parameterRow)),
    body.content && el('div', {}, el('h4', { text: 'Body' }), paragraphs(body.description), Object.entries(body.content).map(mediaType)),
    table('Answers', Object.entries(responses ?? {}).map(([status, response]) => responseRow(status, resolve(response)))));
}

const methodMark = (method) => el('span', { class: `method ${method}`, text: method.toUpperCase() });

function table(title, rows) {
  return el('div', {}, el('h4', { text: title }), el('div', { class: 'table', role: 'group', 'aria-label': title, tabindex: '0' }, el('table', {}, el('tbody', {}, rows))));
}

function parameterRow({ name, in: place, required, schema, description }) {
  return el('tr', {}, el('th', { scope: 'row' }, el('code', { text: name }), el('small', { text: required ? `${place}, required` : place })),
    el('td', {}, typeOf(schema)), el('td', {}, description ?? schema?.description ?? ''));
}

function responseRow(status, { description, content }) {
  return el('tr', {}, el('th', { scope: 'row' }, el('code', { text: status })),
    el('td', {}, Object.entries(content ?? {}).map(([type, { schema }]) => el('div', {}, el('small', { text: `${type} ` }), schema ? typeOf(schema) : ''))),
    el('td', {}, description ?? ''));
}

function mediaType([type, { schema, example, examples }]) {
  const shown = example ?? Object.values(examples ?? {})[0]?.value;
  return el('div', { class: 'media' }, el('p', {}, el('code', { text: type }), ' ', schema?.properties ? '' : typeOf(schema)),
    schema?.properties && propertyTable(schema), shown !== undefined && sample(shown));
}

const sample = (value) => el('pre', { tabindex: '0' }, el('code', { text: typeof value === 'string' ? value : JSON.stringify(value, null, 2) }));

function schemaSection(api) {
  const schemas = Object.entries(api.components?.schemas ?? {});
  return schemas.length > 0 && el('section', { class: 'tag' }, el('h2', { text: 'Schemas' }), schemas.map(([name, schema]) =>
    el('article', { id: `schema-${name}`, class: 'operation' }, el('h3', {}, el('code', { text: name })), paragraphs(schema.description),
      schema.properties ? propertyTable(schema) : el('p', {}, typeOf(schema)), schema.example !== undefined && sample(schema.example))));
}

function propertyTable({ properties, required = [] }) {
  return el('div', { class: 'table', role: 'group', 'aria-label': 'Properties', tabindex: '0' }, el('table', {}, el('tbody', {},
    Object.entries(properties).map(([name, schema]) => el('tr', {},
      el('th', { scope: 'row' }, el('code', { text: name }), required.includes(name) && el('small', { text: 'required' })),
      el('td', {}, typeOf(schema)), el('td', {}, schema.description ?? ''))))));
}

/** A schema in one line, with links to those that have a name. */
function typeOf(schema) {
  const line = el('span', { class: 'type' });
  line.append(...typeParts(schema ?? {}));
  return line;
}

function typeParts(schema) {
  if (schema.$ref) return [schemaLink(schema.$ref.split('/').at(-1))];
  for (const [key, word] of [['oneOf', ' or '], ['anyOf', ' or '], ['allOf', ' and ']]) {
    if (schema[key]) return schema[key].flatMap((part, i) => [...(i ? [word] : []), ...typeParts(part)]);
  }
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(' | ')];
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.type === 'array') return ['[', ...typeParts(schema.items ?? {}), ']'];
  if (schema.properties) return ['{ ', ...Object.entries(schema.properties).flatMap(([name, part], i) => [i ? ', ' : '', `${name}: `, ...typeParts(part)]), ' }'];
  return [[schema.type ?? 'any'].flat().join(' | ') + details(schema)];
}

function details({ format, minimum, maximum, default: usual }) {
  const words = [format, minimum !== undefined && `≥ ${minimum}`, maximum !== undefined && `≤ ${maximum}`, usual !== undefined && `usually ${JSON.stringify(usual)}`];
  const said = words.filter(Boolean);
  return said.length ? ` (${said.join(', ')})` : '';
}

const schemaLink = (name) => el('a', { href: `#schema-${encodeURIComponent(name)}`, text: name });

/** Text with empty lines between its paragraphs; `code` in backquotes. */
function paragraphs(text) {
  return (text ?? '').split(/\n\s*\n/).filter(Boolean).map((paragraph) => el('p', {}, paragraph.split('`').map((part, i) => (i % 2 ? el('code', { text: part }) : part))));
}
