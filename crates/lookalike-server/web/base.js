// Where the page is: at the root of a host, or, behind a proxy, at a path of its own.

/** What comes before every path here, without a slash at its end; nothing at the root. */
export const BASE = new URL('..', import.meta.url).pathname.replace(/\/$/, '');

/** The address of one of the page's places, such as `/map`. */
export const pagePath = (place) => BASE + place;

/** The place that an address means, without what comes before it; null for an address elsewhere. */
export const placeOf = (pathname) => (pathname.startsWith(`${BASE}/`) ? pathname.slice(BASE.length) : null);
