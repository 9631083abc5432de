import type { EntityRow } from './types';

/** Points kept per attribute. */
export const MOST_POINTS = 300;
/** Attributes kept; beyond it the one that was longest without a point is forgotten. */
export const MOST_SERIES = 2000;

/** Times in seconds since 1970 and values: what uPlot draws. */
export interface Series {
  times: number[];
  values: number[];
}

/** The latest numeric values of attributes, gathered while the page is open. */
export class SeriesStore {
  private readonly series = new Map<string, Series>();

  add(entity: EntityRow): void {
    const time = Date.parse(entity.updated) / 1000;
    if (!Number.isFinite(time)) return;
    for (const [name, { value }] of Object.entries(entity.attributes)) {
      if (typeof value !== 'number' || !Number.isFinite(value)) continue;
      const key = keyOf(entity.id, name);
      const known = this.series.get(key) ?? { times: [], values: [] };
      this.series.delete(key);
      this.series.set(key, known);
      const last = known.times.at(-1);
      if (last !== undefined && time <= last) {
        // The same notification again (a snapshot after a reconnect).
        if (time === last) known.values[known.values.length - 1] = value;
        continue;
      }
      known.times.push(time);
      known.values.push(value);
      if (known.times.length > MOST_POINTS) {
        known.times.shift();
        known.values.shift();
      }
      if (this.series.size > MOST_SERIES) this.series.delete(this.series.keys().next().value as string);
    }
  }

  /** Puts points before those that are known: the past that the designer remembers. */
  prepend(entity: string, attribute: string, past: Series): void {
    const key = keyOf(entity, attribute);
    const known = this.series.get(key) ?? { times: [], values: [] };
    const first = known.times[0] ?? Number.POSITIVE_INFINITY;
    const older = past.times.filter((time) => time < first).length;
    this.series.set(key, {
      times: [...past.times.slice(0, older), ...known.times].slice(-MOST_POINTS),
      values: [...past.values.slice(0, older), ...known.values].slice(-MOST_POINTS),
    });
  }

  get(entity: string, attribute: string): Series | undefined {
    return this.series.get(keyOf(entity, attribute));
  }
}

function keyOf(entity: string, attribute: string): string {
  return `${entity}\u0000${attribute}`;
}
