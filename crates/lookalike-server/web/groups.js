// Groups of what looks alike, as albums: all of them, or one opened, in which one can search.

import { address, get, noteContent, putPatiently, withQuery } from './api.js';
import { pagePath } from './base.js';
import { button, complain, el, percent, plural, short } from './dom.js';
import { waiting } from './progress.js';
import { go, newSearch } from './state.js';
import { isSmall, searchWithImage, tile, tileList } from './tiles.js';
import { field, page } from './tidy.js';

/** Albums that are shown; more are too many to look through. */
const MAX_ALBUMS = 500;
/** Pictures on the cover of an album. */
const COVER = 4;
/** Members that are fetched at a time. */
const MEMBERS = 200;

export function mount(host, { facts, signal }) {
  const count = el('input', { type: 'number', id: 'groups', name: 'count', min: 1, max: 1000 });
  const keeping = el('div', { class: 'keeping' });
  let open = null;
  const division = () => (count.value ? { count: Number(count.value) } : {});
  const place = (group) => withQuery(pagePath('/groups'), { ...division(), group });

  /** Keeps the groups as they are shown, so that filters know them. */
  async function keep() {
    const progress = waiting('Keeping the groups');
    keeping.replaceChildren(progress.node);
    try {
      await putPatiently('/groups/kept', division(), signal, progress.tell);
      Object.assign(facts, await get('/gallery', {}, signal));
      go(location.pathname + location.search, { replace: true });
    } catch (error) {
      keeping.replaceChildren(keepButton());
      complain(error);
    }
  }

  const keepButton = () => button({ text: 'Keep as the field “group”', title: 'Then filters find the images of a group, here and everywhere', click: keep });

  function album(group) {
    const { number, size, name, typical, labels } = group;
    const pictures = typical.slice(0, COVER).map(picture);
    const more = labels.slice(0, 3).map(({ label, share }) => `${label} ${percent(share)}`).join(' · ');
    return el('li', { class: 'album' },
      el('a', { class: 'cover', href: place(number), 'aria-label': `Open ${nameOf(group)}, ${plural(size, 'image')}` }, pictures),
      el('div', { class: 'caption' }, el('b', { text: name ?? `Group ${number}` }), el('span', { class: 'distance', text: plural(size, 'image') }),
        el('span', { class: 'place', text: more, title: more })));
  }

  /** One album: all its members, the outliers last, and a way to search among them only. */
  function opened(group, stale) {
    const { number, size, kept, typical, members } = group;
    const within = newSearch({ filter: kept ? `group=${number}` : '' });
    const list = tileList({ 'aria-label': 'Images of the group, the most typical first' });
    const append = (some, from) => list.append(...some.map(({ image, score }, at) => member(image, score, within, from + at >= size - group.outliers)));
    append(members, 0);
    const more = button({ text: 'Show more', click: async () => {
      const from = list.children.length;
      try {
        const next = await get('/groups', { ...division(), limit: 1, offset: number - 1, members: MEMBERS, members_offset: from }, signal);
        append(next.groups?.[0]?.members ?? [], from);
        more.hidden = list.children.length >= size || list.children.length === from;
      } catch (error) {
        complain(error);
      }
    } });
    more.hidden = members.length >= size;
    const search = kept && typical.length && el('a', { class: 'button strong', id: 'search-inside', href: searchWithImage(typical[0].id, within), text: 'Search among these' });
    if (!kept && !stale) keeping.replaceChildren(el('p', { class: 'faint', text: 'Keep the groups to search inside one.' }), keepButton());
    return [el('div', { class: 'row' }, el('a', { class: 'button', href: place(null), text: 'All groups' }), search), list, more];
  }

  const shown = page(host, signal, {
    title: 'Groups',
    words: 'Pictures that look alike, found without labels. How many groups there are follows from the pictures, unless you say it.',
    path: '/groups',
    doing: 'Grouping images',
    form: el('form', { class: 'options' }, field('groups', 'How many groups', count), keeping),
    ask(parameters) {
      count.value = parameters.get('count') ?? '';
      open = Number.parseInt(parameters.get('group'), 10) || null;
      keeping.replaceChildren();
      return { ...division(), ...(open ? { limit: 1, offset: open - 1, members: MEMBERS } : { limit: MAX_ALBUMS }) };
    },
    show(found) {
      count.placeholder = open ? '' : String(found.group_count);
      if (open && found.groups.length) return [openedGroup(found.groups[0]), opened(found.groups[0], found.stale)];
      if (!open && found.groups.length) keeping.replaceChildren(found.groups.every(({ kept }) => kept) ? el('p', { class: 'faint', text: 'Kept as the field “group”.' }) : keepButton());
      return [groupsFound(found), [el('ul', { class: 'albums', 'aria-label': 'Groups, the largest first' }, found.groups.map(album))]];
    },
  });
  return shown;
}

const nameOf = ({ number, name }) => (name ? `group ${number}, ${name}` : `group ${number}`);

function picture(image) {
  noteContent(image);
  return el('img', { class: isSmall(image) ? 'pixels' : '', src: address.thumbnail(image.id), alt: '', loading: 'lazy', decoding: 'async', width: image.width, height: image.height });
}

function member(image, score, within, isOutlier) {
  return tile(image, { href: searchWithImage(image.id, within) }, el('div', { class: 'caption' },
    el('b', { text: image.label ?? '' }), el('span', { class: 'distance', title: 'How typical it is of the group, 1 to 0', text: isOutlier ? `outlier ${short(score)}` : short(score) }),
    el('span', { class: 'place', title: image.location, text: image.key })));
}

function groupsFound({ points, group_count: count, ungrouped, groups, stale }) {
  if (!count) return `No groups among ${plural(points, 'image')}: there are too few that look alike.`;
  const parts = [`${plural(count, 'group')} among ${plural(points, 'image')}`];
  if (ungrouped) parts.push(`${plural(ungrouped, 'image')} in none`);
  if (groups.length < count) parts.push(`the first ${groups.length} are shown`);
  if (stale) parts.push('images have changed since');
  return `${parts.join(', ')}.`;
}

function openedGroup(group) {
  const name = nameOf(group);
  const outliers = group.outliers ? `, the last ${plural(group.outliers, 'of them an outlier', 'of them outliers')}` : '';
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}: ${plural(group.size, 'image')}${outliers}.`;
}
