import { Anchor, Button, Group, Stack, Text } from '@mantine/core';
import { useMemo } from 'react';
import { formatTime, matches } from '../lib/format';
import { href, useParam } from '../lib/router';
import { usePicture } from '../live/store';
import type { TaskRow } from '../live/types';
import { type Column, DataTable } from '../ui/DataTable';
import { LogTail } from '../ui/LogTail';
import { Filter, Page, Panel } from '../ui/Page';
import { Empty, Loading } from '../ui/States';
import { Status } from '../ui/Status';
import { useTasks } from './results';

export const taskColumns: Column<TaskRow>[] = [
  { key: 'id', title: 'Task', render: (row) => <span className="mono">{row.TaskID}</span>, sort: (row) => row.TaskID },
  {
    key: 'status',
    title: 'Status',
    render: (row) => (
      <>
        <Status word={row.Status} />
        {row.Reason && (
          <Text size="xs" c="dimmed" className="break" lineClamp={2} title={row.Reason}>
            {row.Reason}
          </Text>
        )}
      </>
    ),
    sort: (row) => row.Status,
  },
  { key: 'topology', title: 'Topology', render: (row) => row.TopologyName, sort: (row) => row.TopologyName },
  {
    key: 'worker',
    title: 'Worker',
    render: (row) => <span className="mono">{row.Worker || '–'}</span>,
    sort: (row) => row.Worker,
  },
  { key: 'restarts', title: 'Restarts', render: (row) => row.Restarts, sort: (row) => row.Restarts, number: true },
  { key: 'since', title: 'Since', render: (row) => formatTime(row.Since), sort: (row) => row.Since ?? '', width: 100 },
];

export function Tasks({ selected }: { selected?: string }) {
  const loaded = usePicture((picture) => picture.loaded);
  const tasks = useTasks();
  const [filter, setFilter] = useParam('filter');
  const rows = useMemo(
    () =>
      tasks.filter(
        (task) =>
          !filter ||
          matches(
            filter,
            task.TaskID,
            task.Status,
            task.Worker,
            task.TopologyName,
            task.ServiceIntentID,
            task.Operator,
          ),
      ),
    [tasks, filter],
  );
  if (!loaded) return <Loading what="tasks" />;
  return (
    <Page
      title="Tasks"
      about="Instances of operators, as their workers report them."
      actions={<Filter label="Filter tasks" />}
    >
      {selected && <Detail id={selected} task={tasks.find((task) => task.TaskID === selected)} />}
      <Panel>
        <DataTable
          label="Tasks"
          rows={rows}
          columns={taskColumns}
          rowKey={(row) => row.TaskID}
          rowHref={(row) => href(['tasks', row.TaskID], { filter })}
          selected={selected}
          filter={filter}
          clearFilter={() => setFilter('')}
          empty={
            <Empty
              title="No tasks"
              action={
                <Button component="a" href={href(['functions', 'new'])} size="xs" variant="light">
                  Write a function
                </Button>
              }
            >
              A task starts when a function or an intent is active and entities of its input type exist.
            </Empty>
          }
        />
      </Panel>
    </Page>
  );
}

function Detail({ id, task }: { id: string; task: TaskRow | undefined }) {
  const close = (
    <Button component="a" href={href('tasks')} variant="default" size="xs">
      Close
    </Button>
  );
  if (!task) {
    return (
      <Panel title={id} actions={close}>
        <Empty title="This task is gone">It was removed, or the address is wrong.</Empty>
      </Panel>
    );
  }
  return (
    <Panel title={task.TaskID} copy actions={close}>
      <Stack gap="sm" p="md">
        <Group gap="xl">
          <Text size="sm" component="span">
            <Status word={task.Status} />
          </Text>
          <Text size="sm">Worker {task.Worker || '–'}</Text>
          {task.Operator && (
            <Text size="sm">
              Operator{' '}
              <Anchor href={href(['operators', task.Operator])} size="sm">
                {task.Operator}
              </Anchor>
            </Text>
          )}
          <Text size="sm">Since {formatTime(task.Since)}</Text>
          {task.Endpoint && (
            <Text size="sm" className="break">
              At {task.Endpoint}
            </Text>
          )}
        </Group>
        {task.Reason && (
          <Text size="sm" className="break" c={task.Status === 'failed' ? 'var(--bad)' : undefined}>
            {task.Reason}
          </Text>
        )}
        <Group gap="xl" align="flex-start">
          <Streams title="Reads" streams={task.Inputs.map((input) => [input.Type, input.ID])} />
          <Streams title="Writes" streams={task.Outputs.map((output) => [output.Type, output.StreamID])} />
        </Group>
      </Stack>
      <div style={{ borderTop: '1px solid var(--line)' }}>
        <LogTail task={task.TaskID} />
      </div>
    </Panel>
  );
}

function Streams({ title, streams }: { title: string; streams: [string, string][] }) {
  return (
    <Text size="sm" component="div">
      {title}
      {streams.length === 0 && ' nothing'}
      {streams.slice(0, 8).map(([type, id]) => (
        <div key={`${type} ${id}`}>
          {id ? (
            <Anchor href={href(['entities', id])} size="sm" className="mono break">
              {id}
            </Anchor>
          ) : (
            'every entity'
          )}{' '}
          <Text span size="xs" c="dimmed">
            {type}
          </Text>
        </div>
      ))}
      {streams.length > 8 && <div>and {streams.length - 8} more</div>}
    </Text>
  );
}
