import type { Task } from '../api/registry';
import { columnsOf } from './graphLayout';

interface Box {
  label: string;
  sub: string;
  column: number;
  row: number;
}

const WIDTH = 170;
const HEIGHT = 52;
const GAP_X = 120;
const GAP_Y = 26;

/** The topology as a picture. The table beside it says the same in words. */
export function Graph({ tasks }: { tasks: readonly Task[] }) {
  const columns = columnsOf(tasks);
  const produced = new Set(tasks.flatMap((task) => task.output_streams.map((output) => output.entity_type)));
  const sources = [...new Set(tasks.flatMap((task) => task.input_streams.map((input) => input.selected_type)))].filter(
    (type) => !produced.has(type),
  );
  const filled = new Map<number, number>();
  const rowIn = (column: number) => {
    const row = filled.get(column) ?? 0;
    filled.set(column, row + 1);
    return row;
  };
  const sourceBoxes: Box[] = sources.map((type) => ({ label: type, sub: 'entities', column: 0, row: rowIn(0) }));
  const boxes: Box[] = tasks.map((task, index) => {
    const column = (columns[index] ?? 0) + 1;
    return { label: task.name, sub: task.operator, column, row: rowIn(column) };
  });
  const x = (box: Box) => box.column * (WIDTH + GAP_X) + 1;
  const y = (box: Box) => box.row * (HEIGHT + GAP_Y) + 1;
  const width = (Math.max(...boxes.map((box) => box.column), 0) + 1) * (WIDTH + GAP_X);
  const height = Math.max(...filled.values(), 1) * (HEIGHT + GAP_Y);
  const edges: { from: Box; to: Box; label: string }[] = [];
  for (const [index, task] of tasks.entries()) {
    const to = boxes[index] as Box;
    for (const { selected_type: type } of task.input_streams) {
      const source = sourceBoxes[sources.indexOf(type)];
      if (source) edges.push({ from: source, to, label: '' });
      for (const [other, producer] of tasks.entries()) {
        if (producer.output_streams.some((output) => output.entity_type === type)) {
          edges.push({ from: boxes[other] as Box, to, label: type });
        }
      }
    }
  }
  return (
    <div className="scroll-x">
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} aria-hidden="true" className="graph">
        {edges.map(({ from, to, label }) => {
          const [x1, y1, x2, y2] = [x(from) + WIDTH, y(from) + HEIGHT / 2, x(to), y(to) + HEIGHT / 2];
          const middle = (x1 + x2) / 2;
          return (
            <g key={`${from.label} ${to.label} ${label}`}>
              <path d={`M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2 - 7} ${y2}`} className="edge" />
              <path d={`M${x2 - 8} ${y2 - 4}l7 4-7 4z`} className="tip" />
              {label && (
                <text x={middle} y={(y1 + y2) / 2 - 7} textAnchor="middle" className="small">
                  {short(label, 18)}
                </text>
              )}
            </g>
          );
        })}
        {[...sourceBoxes, ...boxes].map((box, index) => (
          <g key={`${box.column} ${box.row}`} className={index < sourceBoxes.length ? 'source' : 'task'}>
            <rect
              x={x(box)}
              y={y(box)}
              width={WIDTH}
              height={HEIGHT}
              rx={index < sourceBoxes.length ? HEIGHT / 2 : 8}
            />
            <text x={x(box) + WIDTH / 2} y={y(box) + 22} textAnchor="middle" className="name">
              {short(box.label, 20)}
            </text>
            <text x={x(box) + WIDTH / 2} y={y(box) + 39} textAnchor="middle" className="small">
              {short(box.sub, 24)}
            </text>
          </g>
        ))}
      </svg>
    </div>
  );
}

function short(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
