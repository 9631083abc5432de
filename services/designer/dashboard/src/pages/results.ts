import { useQuery } from '@tanstack/react-query';
import { useEffect } from 'react';
import { getJson } from '../api/client';
import type { Picture } from '../live/reducer';
import type { Series } from '../live/series';
import { live, useRows } from '../live/store';
import type { EntityRow, TaskRow } from '../live/types';

const entitiesOf = (picture: Picture) => picture.entities;
const tasksOf = (picture: Picture) => picture.tasks;

export function useEntities(): readonly EntityRow[] {
  return useRows(entitiesOf);
}

export function useTasks(): readonly TaskRow[] {
  return useRows(tasksOf);
}

/** Entities that tasks publish, newest first. Of some tasks only, if they are given. */
export function resultsOf(entities: readonly EntityRow[], tasks: readonly TaskRow[]): EntityRow[] {
  const ids = new Set(tasks.flatMap((task) => task.Outputs.map((output) => output.StreamID)));
  const types = new Set(tasks.flatMap((task) => task.Outputs.map((output) => output.Type)));
  return entities
    .filter((entity) => ids.has(entity.id) || types.has(entity.type))
    .sort((a, b) => b.updated.localeCompare(a.updated));
}

/** At most `most` numeric attributes of an entity as lines of a chart. */
export function linesOf(entity: EntityRow, most = 6) {
  return Object.entries(entity.attributes)
    .filter(([, item]) => typeof item.value === 'number')
    .slice(0, most)
    .map(([attribute]) => ({ entity: entity.id, attribute, label: attribute }));
}

/** Fetches the past of an entity's numbers once, so that its chart does not begin empty. */
export function usePast(entity: string): void {
  const past = useQuery({
    queryKey: ['past', entity],
    queryFn: () => getJson<{ series: Record<string, Series> }>(`info/entity/${encodeURIComponent(entity)}`),
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
  useEffect(() => {
    for (const [attribute, series] of Object.entries(past.data?.series ?? {}))
      live.series.prepend(entity, attribute, series);
    if (past.data) live.redraw();
  }, [entity, past.data]);
}
