import { Text } from '@mantine/core';
import { formatTime, formatValue } from '../lib/format';
import type { EntityRow, TypedValue } from '../live/types';
import { Chart } from '../ui/Chart';
import { linesOf, usePast } from './results';

/** Numeric attributes of an entity over time, or its attributes as a table if none is numeric. */
export function EntityChart({ entity, height }: { entity: EntityRow; height?: number }) {
  const lines = linesOf(entity);
  usePast(entity.id);
  if (lines.length === 0) return <AttributeTable entity={entity} />;
  return (
    <div style={{ padding: '0.75rem' }}>
      <Chart
        lines={lines}
        height={height}
        label={`Chart of ${lines.map((line) => line.label).join(', ')} of ${entity.id}`}
      />
    </div>
  );
}

/** Attributes and metadata with types; a value that has just changed is marked. */
export function AttributeTable({ entity }: { entity: EntityRow }) {
  const rows: [string, string, TypedValue][] = [
    ...Object.entries(entity.attributes).map(([name, item]): [string, string, TypedValue] => ['attribute', name, item]),
    ...Object.entries(entity.metadata).map(([name, item]): [string, string, TypedValue] => ['metadata', name, item]),
  ];
  return (
    <div className="scroll-x">
      <table className="grid-table" aria-label={`Attributes of ${entity.id}`}>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Value</th>
            <th scope="col">Type</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([kind, name, item]) => {
            const value = formatValue(item.value);
            return (
              <tr key={`${kind} ${name}`}>
                <td className="break">
                  {name}
                  {kind === 'metadata' && (
                    <Text span size="xs" c="dimmed">
                      {' '}
                      metadata
                    </Text>
                  )}
                </td>
                {/* A new key for a new value starts the mark again. */}
                <td key={value} className="mono break flash">
                  {value}
                </td>
                <td>
                  <Text span size="sm" c="dimmed">
                    {item.type}
                  </Text>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <Text size="xs" c="dimmed" p="xs">
        Updated {formatTime(entity.updated)} · {entity.updates} since the designer follows it
      </Text>
    </div>
  );
}
