import type { Task } from '../api/registry';

/** Where each task stands: in the column after the last of those that it consumes from. */
export function columnsOf(tasks: readonly Task[]): number[] {
  const columns = tasks.map(() => 0);
  // Tasks form no cycle, so as many passes as there are tasks settle it; a broken topology is drawn somehow.
  for (let pass = 0; pass < tasks.length; pass++) {
    for (const [index, task] of tasks.entries()) {
      for (const [other, producer] of tasks.entries()) {
        if (other === index || !feeds(producer, task)) continue;
        columns[index] = Math.max(columns[index] ?? 0, Math.min((columns[other] ?? 0) + 1, tasks.length));
      }
    }
  }
  return columns;
}

function feeds(producer: Task, consumer: Task): boolean {
  return producer.output_streams.some((output) =>
    consumer.input_streams.some((input) => input.selected_type === output.entity_type),
  );
}
