import { Anchor, Button, Group, Text } from '@mantine/core';
import { type ReactNode, useMemo, useState } from 'react';
import { plural } from '../lib/format';
import { useParam } from '../lib/router';
import { Empty } from './States';

export interface Column<T> {
  key: string;
  title: string;
  render: (row: T) => ReactNode;
  /** Sorts by it; without it the column cannot be sorted. */
  sort?: (row: T) => string | number;
  number?: boolean;
  width?: string | number;
}

interface Props<T> {
  label: string;
  rows: readonly T[];
  columns: Column<T>[];
  rowKey: (row: T) => string;
  /** Makes the first cell a link to the row's own view. */
  rowHref?: (row: T) => string;
  selected?: string;
  /** Shown when there is nothing at all. */
  empty: ReactNode;
  /** The filter in force, to tell "nothing there" from "nothing found". */
  filter?: string;
  clearFilter?: () => void;
}

const PAGE = 100;

/** The one table: sorted by its heads (kept in the address), a hundred rows at a time. */
export function DataTable<T>({
  label,
  rows,
  columns,
  rowKey,
  rowHref,
  selected,
  empty,
  filter,
  clearFilter,
}: Props<T>) {
  const [sort, setSort] = useParam('sort');
  const [shown, setShown] = useState(PAGE);
  const descending = sort.startsWith('-');
  const by = columns.find((column) => column.key === sort.replace(/^-/, '') && column.sort);
  const sorted = useMemo(() => {
    if (!by?.sort) return rows;
    const value = by.sort;
    const direction = descending ? -1 : 1;
    return [...rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return (typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y))) * direction;
    });
  }, [rows, by, descending]);

  if (rows.length === 0) {
    if (filter) {
      return (
        <Empty
          title="Nothing matches"
          action={
            <Button size="xs" variant="default" onClick={clearFilter}>
              Clear the filter
            </Button>
          }
        >
          No row has all of “{filter}”.
        </Empty>
      );
    }
    return empty;
  }
  return (
    <>
      <div className="scroll-x">
        <table className="grid-table" aria-label={label}>
          <thead>
            <tr>
              {columns.map((column) => (
                <th
                  key={column.key}
                  scope="col"
                  style={{ width: column.width }}
                  className={column.number ? 'number' : undefined}
                  aria-sort={by === column ? (descending ? 'descending' : 'ascending') : undefined}
                >
                  {column.sort ? (
                    <button
                      type="button"
                      className="sort"
                      onClick={() => setSort(by !== column ? column.key : descending ? '' : `-${column.key}`)}
                    >
                      {column.title}
                      {by === column ? (descending ? ' ↓' : ' ↑') : ''}
                    </button>
                  ) : (
                    column.title
                  )}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {sorted.slice(0, shown).map((row) => {
              const key = rowKey(row);
              return (
                <tr key={key} data-selected={selected === key || undefined}>
                  {columns.map((column, index) => (
                    <td key={column.key} className={column.number ? 'number' : undefined}>
                      {index === 0 && rowHref ? (
                        <Anchor href={rowHref(row)} className="break" size="sm" inherit>
                          {column.render(row)}
                        </Anchor>
                      ) : (
                        column.render(row)
                      )}
                    </td>
                  ))}
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      {sorted.length > shown && (
        <Group p="sm" justify="center">
          <Text size="sm" c="dimmed">
            {shown} of {plural(sorted.length, 'row')}
          </Text>
          <Button size="xs" variant="default" onClick={() => setShown(shown + PAGE)}>
            Show more
          </Button>
        </Group>
      )}
    </>
  );
}
