import { useCallback, useRef, useSyncExternalStore } from 'react';
import { apply, empty, type Picture } from './reducer';
import { SeriesStore } from './series';
import type { EntityRow, Frame, Snapshot } from './types';

export type Link = { state: 'connecting' } | { state: 'live' } | { state: 'broken'; since: number };

const EVENTS = [
  'snapshot',
  'service',
  'serviceRemoved',
  'worker',
  'workerRemoved',
  'broker',
  'brokerRemoved',
  'master',
  'masterRemoved',
  'intent',
  'intentRemoved',
  'task',
  'taskRemoved',
  'entity',
  'entityRemoved',
  'event',
  'registry',
];
/** Frames are gathered for this long before the page is drawn again. */
const STEP_MS = 150;

/** The one connection to the designer and the picture that it paints. */
export class LiveStore {
  picture: Picture = empty;
  link: Link = { state: 'connecting' };
  readonly series = new SeriesStore();
  private source: EventSource | undefined;
  private frames: Frame[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly registryListeners = new Set<(kind: string) => void>();

  constructor(private readonly url: string) {}

  start(): void {
    const source = new EventSource(this.url);
    this.source = source;
    source.onopen = () => this.setLink({ state: 'live' });
    source.onerror = () => {
      if (this.link.state !== 'broken') this.setLink({ state: 'broken', since: Date.now() });
      // The browser tries again by itself unless the answer was not a stream.
      if (source.readyState === EventSource.CLOSED && this.source === source) {
        setTimeout(() => this.source === source && this.start(), 2000);
      }
    };
    for (const event of EVENTS) {
      source.addEventListener(event, (message) => {
        this.receive({ id: message.lastEventId, event, data: JSON.parse(message.data) });
      });
    }
  }

  stop(): void {
    this.source?.close();
    this.source = undefined;
    clearTimeout(this.timer);
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Called with the kind (a key of db.json) whenever the registry changes, and with `*` after a snapshot. */
  onRegistry(listener: (kind: string) => void): () => void {
    this.registryListeners.add(listener);
    return () => this.registryListeners.delete(listener);
  }

  private receive(frame: Frame): void {
    this.frames.push(frame);
    // The first picture at once, what follows in steps.
    if (frame.event === 'snapshot') this.flush();
    else this.timer ??= setTimeout(() => this.flush(), STEP_MS);
  }

  private flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const frames = this.frames;
    this.frames = [];
    this.picture = apply(this.picture, frames);
    const kinds = new Set<string>();
    for (const { event, data } of frames) {
      if (event === 'entity') this.series.add(data as EntityRow);
      if (event === 'registry') kinds.add(String((data as { kind: string }).kind));
      if (event === 'snapshot') {
        kinds.add('*');
        for (const entity of (data as Snapshot).entities ?? []) this.series.add(entity);
      }
    }
    for (const kind of kinds) for (const listener of this.registryListeners) listener(kind);
    this.tell();
  }

  private setLink(link: Link): void {
    this.link = link;
    this.tell();
  }

  /** Draws again, though the picture is the same: a past was added to a series. */
  redraw(): void {
    this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}

export const live = new LiveStore('events');

/** A part of the picture; the component is drawn again when that part changes. */
export function usePicture<T>(select: (picture: Picture) => T): T {
  return useSyncExternalStore(live.subscribe, () => select(live.picture));
}

export function useLink(): Link {
  return useSyncExternalStore(live.subscribe, () => live.link);
}

/** A list made of a map of the picture, the same list as long as the map is the same. */
export function useRows<T>(select: (picture: Picture) => ReadonlyMap<string, T>): readonly T[] {
  const memo = useRef<{ map: ReadonlyMap<string, T>; rows: readonly T[] } | undefined>(undefined);
  const list = useCallback(
    (picture: Picture) => {
      const map = select(picture);
      if (memo.current?.map !== map) memo.current = { map, rows: [...map.values()] };
      return memo.current.rows;
    },
    [select],
  );
  return usePicture(list);
}
