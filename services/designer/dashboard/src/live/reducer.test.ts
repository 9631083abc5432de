import { describe, expect, it } from 'vitest';
import { apply, empty, MOST_ENTITIES, MOST_EVENTS, parseId } from './reducer';
import type { Frame } from './types';

const snapshot = (generation: number, change: object = {}): Frame => ({
  id: `a-${generation}`,
  event: 'snapshot',
  data: {
    generation,
    registry: 7,
    services: [],
    workers: [],
    brokers: [],
    masters: [],
    intents: [],
    tasks: [],
    entities: [],
    entitiesKept: 0,
    events: [],
    ...change,
  },
});
const task = (generation: number, id: string, Status: string): Frame => ({
  id: `a-${generation}`,
  event: 'task',
  data: { TaskID: id, Status },
});

describe('the picture', () => {
  it('waits for a snapshot before it takes changes', () => {
    expect(apply(empty, [task(1, 't', 'running')])).toBe(empty);
  });

  it('takes changes in order after a snapshot', () => {
    const picture = apply(empty, [snapshot(4), task(5, 't', 'starting'), task(6, 't', 'running')]);
    expect(picture.tasks.get('t')?.Status).toBe('running');
    expect(picture.generation).toBe(6);
  });

  it('drops what it has seen, as after a reconnect', () => {
    const before = apply(empty, [snapshot(4), task(5, 't', 'running')]);
    expect(apply(before, [task(5, 't', 'starting')])).toBe(before);
  });

  it('replaces everything by a snapshot, also of a restarted designer with lower generations', () => {
    const before = apply(empty, [snapshot(900), task(901, 'old', 'running')]);
    const after = apply(before, [
      { ...snapshot(2), id: 'b-2' },
      { ...task(3, 'new', 'running'), id: 'b-3' },
    ]);
    expect([...after.tasks.keys()]).toEqual(['new']);
    expect(after.start).toBe('b');
  });

  it('removes rows', () => {
    const before = apply(empty, [snapshot(1, { tasks: [{ TaskID: 't', Status: 'running' }] })]);
    const after = apply(before, [{ id: 'a-2', event: 'taskRemoved', data: { TaskID: 't', ID: 't' } }]);
    expect(after.tasks.size).toBe(0);
    expect(before.tasks.size).toBe(1);
  });

  it('leaves maps that did not change as they are, so that their views are not drawn again', () => {
    const before = apply(empty, [snapshot(1)]);
    const after = apply(before, [task(2, 't', 'running')]);
    expect(after.entities).toBe(before.entities);
    expect(after.tasks).not.toBe(before.tasks);
  });

  it('keeps the newest entities within its bound', () => {
    const frames = Array.from(
      { length: MOST_ENTITIES + 10 },
      (_, n): Frame => ({
        id: `a-${n + 2}`,
        event: 'entity',
        data: { id: `e${n}`, type: 'T', attributes: {}, metadata: {} },
      }),
    );
    const picture = apply(empty, [snapshot(1), ...frames]);
    expect(picture.entities.size).toBe(MOST_ENTITIES);
    expect(picture.entities.has('e0')).toBe(false);
    expect(picture.entities.has(`e${MOST_ENTITIES + 9}`)).toBe(true);
  });

  it('keeps the newest events within its bound and ignores events that it does not know', () => {
    const frames = Array.from(
      { length: MOST_EVENTS + 1 },
      (_, n): Frame => ({
        id: `a-${n + 2}`,
        event: 'event',
        data: { time: '', level: 'info', about: 'task', text: String(n) },
      }),
    );
    const picture = apply(empty, [snapshot(1), ...frames, { id: 'a-9999', event: 'news', data: {} }]);
    expect(picture.events).toHaveLength(MOST_EVENTS);
    expect(picture.events.at(-1)?.text).toBe(String(MOST_EVENTS));
  });

  it('reads ids whose start holds a dash', () => {
    expect(parseId('1a-2b-17')).toEqual({ start: '1a-2b', generation: 17 });
    expect(parseId('')).toEqual({ start: '', generation: 0 });
  });
});
