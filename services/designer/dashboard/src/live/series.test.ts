import { expect, it } from 'vitest';
import { MOST_POINTS, SeriesStore } from './series';

const entity = (second: number, value: unknown) => ({
  id: 'e',
  type: 'T',
  attributes: { temp: { type: 'float', value }, name: { type: 'string', value: 'x' } },
  metadata: {},
  updated: new Date(second * 1000).toISOString(),
  updates: 1,
});

it('gathers numbers only, in the order of time, without repeats', () => {
  const store = new SeriesStore();
  for (const [second, value] of [
    [10, 1],
    [11, 2],
    [11, 3],
    [9, 4],
    [12, 'high'],
    [13, Number.NaN],
  ] as const)
    store.add(entity(second, value));
  expect(store.get('e', 'temp')).toEqual({ times: [10, 11], values: [1, 3] });
  expect(store.get('e', 'name')).toBeUndefined();
});

it('keeps the latest points', () => {
  const store = new SeriesStore();
  for (let second = 1; second <= MOST_POINTS + 5; second++) store.add(entity(second, second));
  expect(store.get('e', 'temp')?.times).toHaveLength(MOST_POINTS);
  expect(store.get('e', 'temp')?.values[0]).toBe(6);
});

it('takes a past before what it has, once', () => {
  const store = new SeriesStore();
  store.add(entity(12, 3));
  const past = { times: [10, 11, 12], values: [1, 2, 3] };
  store.prepend('e', 'temp', past);
  store.prepend('e', 'temp', past);
  expect(store.get('e', 'temp')).toEqual({ times: [10, 11, 12], values: [1, 2, 3] });
  store.prepend('other', 'temp', past);
  expect(store.get('other', 'temp')).toEqual(past);
});
