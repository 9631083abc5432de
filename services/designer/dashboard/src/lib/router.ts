import { useMemo, useSyncExternalStore } from 'react';

/** Where the page is: the path's parts and the parameters behind `?`, all in the hash, so that every view has a link. */
export interface Route {
  parts: string[];
  params: URLSearchParams;
}

export function parseHash(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const parts = path.split('/').filter(Boolean).map(decode);
  return { parts: parts.length > 0 ? parts : ['overview'], params: new URLSearchParams(query) };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The link to a view. Empty parameters are left out. */
export function href(parts: string | string[], params: Record<string, string | undefined> = {}): string {
  const path = (Array.isArray(parts) ? parts : [parts]).map(encodeURIComponent).join('/');
  const query = new URLSearchParams(Object.entries(params).filter((entry): entry is [string, string] => !!entry[1]));
  return `#/${path}${query.size > 0 ? `?${query}` : ''}`;
}

export function go(target: string): void {
  window.location.hash = target;
}

function subscribe(listener: () => void): () => void {
  window.addEventListener('hashchange', listener);
  return () => window.removeEventListener('hashchange', listener);
}

export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribe, () => window.location.hash);
  return useMemo(() => parseHash(hash), [hash]);
}

/** A parameter of the present view. Setting it replaces the address without a step in the history. */
export function useParam(name: string): [string, (value: string) => void] {
  const { parts, params } = useRoute();
  const set = (value: string) => {
    const next = Object.fromEntries(params);
    next[name] = value;
    window.history.replaceState(null, '', href(parts, next));
    window.dispatchEvent(new HashChangeEvent('hashchange'));
  };
  return [params.get(name) ?? '', set];
}
