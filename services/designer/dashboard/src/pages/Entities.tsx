import { Anchor, Button, Group, SegmentedControl, Select, Stack, Text } from '@mantine/core';
import { useMemo } from 'react';
import { send } from '../api/client';
import { formatTime, formatValue, matches } from '../lib/format';
import { go, href, useParam } from '../lib/router';
import { usePicture } from '../live/store';
import type { EntityRow } from '../live/types';
import { ConfirmButton, useChange } from '../ui/actions';
import { type Column, DataTable } from '../ui/DataTable';
import { TrashIcon } from '../ui/icons';
import { Filter, Page, Panel } from '../ui/Page';
import { Empty, Loading } from '../ui/States';
import { AttributeTable, EntityChart } from './EntityView';
import { linesOf, resultsOf, useEntities, useTasks } from './results';

const columns: Column<EntityRow>[] = [
  { key: 'id', title: 'Entity', render: (row) => <span className="mono">{row.id}</span>, sort: (row) => row.id },
  { key: 'type', title: 'Type', render: (row) => row.type, sort: (row) => row.type },
  {
    key: 'attributes',
    title: 'Attributes',
    render: (row) => (
      <Text span size="sm" lineClamp={2} className="break">
        {Object.entries(row.attributes)
          .map(([name, item]) => `${name} ${formatValue(item.value)}`)
          .join('  ·  ')}
      </Text>
    ),
  },
  { key: 'updates', title: 'Updates', render: (row) => row.updates, sort: (row) => row.updates, number: true },
  {
    key: 'updated',
    title: 'Updated',
    render: (row) => formatTime(row.updated),
    sort: (row) => row.updated,
    width: 100,
  },
];

export function Entities({ selected }: { selected?: string }) {
  const loaded = usePicture((picture) => picture.loaded);
  const entities = useEntities();
  const tasks = useTasks();
  const [filter, setFilter] = useParam('filter');
  const [type, setType] = useParam('type');
  const [scope, setScope] = useParam('scope');
  const types = useMemo(() => [...new Set(entities.map((entity) => entity.type))].sort(), [entities]);
  const rows = useMemo(() => {
    const chosen = scope === 'results' ? resultsOf(entities, tasks) : entities;
    return chosen
      .filter((entity) => !type || entity.type === type)
      .filter((entity) => !filter || matches(filter, entity.id, entity.type, ...Object.keys(entity.attributes)))
      .sort((a, b) => b.updated.localeCompare(a.updated));
  }, [entities, tasks, scope, type, filter]);
  if (!loaded) return <Loading what="entities" />;
  const one = selected ? entities.find((entity) => entity.id === selected) : undefined;
  return (
    <Page
      title="Entities"
      about="The newest state of what the cloud broker holds, as it changes."
      actions={
        <>
          <SegmentedControl
            size="sm"
            aria-label="Which entities"
            data={[
              { value: 'all', label: 'All' },
              { value: 'results', label: 'Results' },
            ]}
            value={scope || 'all'}
            onChange={(value) => setScope(value === 'all' ? '' : value)}
          />
          <Select
            aria-label="Type"
            placeholder="Any type"
            data={types}
            value={type || null}
            onChange={(value) => setType(value ?? '')}
            clearable
            searchable
            w={190}
          />
          <Filter label="Filter entities" />
        </>
      }
    >
      {selected && <Detail id={selected} entity={one} />}
      <Panel>
        <DataTable
          label="Entities"
          rows={rows}
          columns={columns}
          rowKey={(row) => row.id}
          rowHref={(row) => href(['entities', row.id], { filter, type, scope })}
          selected={selected}
          filter={filter || type || (scope && 'the results of tasks')}
          clearFilter={() => {
            setFilter('');
            go(href('entities'));
          }}
          empty={
            <Empty
              title="No entities yet"
              action={
                <Button component="a" href={href('devices')} size="xs" variant="light">
                  Register a device
                </Button>
              }
            >
              Entities appear as soon as somebody writes one at the broker, with NGSI v1, v2 or NGSI-LD.
            </Empty>
          }
        />
      </Panel>
    </Page>
  );
}

function Detail({ id, entity }: { id: string; entity: EntityRow | undefined }) {
  const tasks = useTasks();
  const remove = useChange(
    (entityId: string) => send('DELETE', `ngsi10/entity/${encodeURIComponent(entityId)}`),
    `Deleted ${id}`,
    () => go(href('entities')),
  );
  const readers = tasks.filter((task) =>
    task.Inputs.some((input) => input.ID === id || (!input.ID && input.Type === entity?.type)),
  );
  const writers = tasks.filter((task) => task.Outputs.some((output) => output.StreamID === id));
  return (
    <Panel
      title={id}
      copy
      actions={
        <Group gap="xs">
          <ConfirmButton
            label={`Delete ${id}`}
            icon={<TrashIcon />}
            question="Delete this entity?"
            confirm="Delete"
            onConfirm={() => remove.mutate(id)}
            loading={remove.isPending}
            compact
          >
            It is deleted at its broker, and those who subscribed to it are told.
          </ConfirmButton>
          <Button component="a" href={href('entities')} variant="default" size="xs">
            Close
          </Button>
        </Group>
      }
    >
      {!entity ? (
        <Empty title="Not seen">
          No notification about this entity has arrived since the designer follows the broker.
        </Empty>
      ) : (
        <Stack gap={0}>
          <Group px="md" pt="sm" gap="xl">
            <Text size="sm">Type {entity.type}</Text>
            <TaskLinks label="Written by" ids={writers.map((task) => task.TaskID)} />
            <TaskLinks label="Read by" ids={readers.map((task) => task.TaskID)} />
          </Group>
          {linesOf(entity).length > 0 && <EntityChart entity={entity} />}
          <AttributeTable entity={entity} />
        </Stack>
      )}
    </Panel>
  );
}

function TaskLinks({ label, ids }: { label: string; ids: string[] }) {
  if (ids.length === 0) return null;
  return (
    <Text size="sm">
      {label}{' '}
      {ids.slice(0, 5).map((id, index) => (
        <span key={id}>
          {index > 0 && ', '}
          <Anchor href={href(['tasks', id])} size="sm" className="mono">
            {id}
          </Anchor>
        </span>
      ))}
      {ids.length > 5 && ` and ${ids.length - 5} more`}
    </Text>
  );
}
