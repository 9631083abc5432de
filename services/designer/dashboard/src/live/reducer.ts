import type {
  BrokerRow,
  EntityRow,
  Frame,
  IntentState,
  LiveEvent,
  MasterRow,
  ServiceRow,
  Snapshot,
  TaskRow,
  WorkerRow,
} from './types';

/** The live picture as the page holds it. Maps are replaced, never changed. */
export interface Picture {
  /** Whether a snapshot was received. */
  loaded: boolean;
  /** Start of the designer's process that the generations belong to. */
  start: string;
  generation: number;
  registry: number;
  services: ReadonlyMap<string, ServiceRow>;
  workers: ReadonlyMap<string, WorkerRow>;
  brokers: ReadonlyMap<string, BrokerRow>;
  masters: ReadonlyMap<string, MasterRow>;
  intents: ReadonlyMap<string, IntentState>;
  tasks: ReadonlyMap<string, TaskRow>;
  entities: ReadonlyMap<string, EntityRow>;
  events: readonly LiveEvent[];
}

/** Entities that the page keeps; the designer's own bound. */
export const MOST_ENTITIES = 5000;
/** Events that the page keeps. */
export const MOST_EVENTS = 200;

export const empty: Picture = {
  loaded: false,
  start: '',
  generation: 0,
  registry: 0,
  services: new Map(),
  workers: new Map(),
  brokers: new Map(),
  masters: new Map(),
  intents: new Map(),
  tasks: new Map(),
  entities: new Map(),
  events: [],
};

type MapName = 'services' | 'workers' | 'brokers' | 'masters' | 'intents' | 'tasks' | 'entities';

/** Which map an event changes, and by which member its rows are known. */
const puts: Record<string, [MapName, string]> = {
  service: ['services', 'name'],
  worker: ['workers', 'id'],
  broker: ['brokers', 'id'],
  master: ['masters', 'id'],
  intent: ['intents', 'id'],
  task: ['tasks', 'TaskID'],
  entity: ['entities', 'id'],
};
const removals: Record<string, [MapName, string]> = Object.fromEntries(
  Object.entries(puts).map(([event, target]) => [`${event}Removed`, target]),
);

/** `<start>-<generation>` */
export function parseId(id: string): { start: string; generation: number } {
  const dash = id.lastIndexOf('-');
  return { start: id.slice(0, Math.max(dash, 0)), generation: Number(id.slice(dash + 1)) || 0 };
}

/**
 * Applies frames in order. A frame of a generation that was seen already changes nothing; a snapshot replaces everything.
 * Each map is copied at most once per call, however many frames there are.
 */
export function apply(before: Picture, frames: readonly Frame[]): Picture {
  let picture = before;
  let owned = new Set<string>();

  const own = () => {
    if (picture === before) picture = { ...before };
  };
  const map = (name: MapName): Map<string, unknown> => {
    own();
    if (!owned.has(name)) {
      (picture as unknown as Record<string, unknown>)[name] = new Map(picture[name] as ReadonlyMap<string, unknown>);
      owned.add(name);
    }
    return picture[name] as Map<string, unknown>;
  };

  for (const frame of frames) {
    const { start, generation } = parseId(frame.id);
    if (frame.event === 'snapshot') {
      picture = fromSnapshot(frame.data as Snapshot, start, generation);
      owned = new Set();
      continue;
    }
    if (!picture.loaded || (start === picture.start && generation <= picture.generation)) continue;
    const put = puts[frame.event];
    const removal = removals[frame.event];
    const row = frame.data as Record<string, unknown>;
    if (put) {
      const [name, key] = put;
      const rows = map(name);
      const id = String(row[key]);
      if (name === 'entities') {
        // Newest last, so that the oldest can be dropped.
        rows.delete(id);
        rows.set(id, row);
        if (rows.size > MOST_ENTITIES) rows.delete(rows.keys().next().value as string);
      } else {
        rows.set(id, row);
      }
    } else if (removal) {
      const [name, key] = removal;
      map(name).delete(String(row[key]));
    } else if (frame.event === 'event') {
      own();
      picture.events = [...picture.events, row as unknown as LiveEvent].slice(-MOST_EVENTS);
    } else if (frame.event === 'registry') {
      own();
      picture.registry = Number(row.generation) || picture.registry;
    } else {
      continue;
    }
    own();
    picture.start = start;
    picture.generation = generation;
  }
  return picture;
}

function fromSnapshot(snapshot: Snapshot, start: string, generation: number): Picture {
  const by = <T>(rows: T[] | undefined, key: keyof T) => new Map((rows ?? []).map((row) => [String(row[key]), row]));
  return {
    loaded: true,
    start,
    generation,
    registry: snapshot.registry,
    services: by(snapshot.services, 'name'),
    workers: by(snapshot.workers, 'id'),
    brokers: by(snapshot.brokers, 'id'),
    masters: by(snapshot.masters, 'id'),
    intents: by(snapshot.intents, 'id'),
    tasks: by(snapshot.tasks, 'TaskID'),
    // The snapshot lists the newest first.
    entities: by([...(snapshot.entities ?? [])].reverse(), 'id'),
    events: snapshot.events ?? [],
  };
}
