import type { Picture } from '../live/reducer';
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
  return live.series
    .attributes(entity.id)
    .slice(0, most)
    .map((attribute) => ({ entity: entity.id, attribute, label: attribute }));
}
