import { Alert, Anchor, Button, Code, Group, SimpleGrid, Text } from '@mantine/core';
import { useMemo } from 'react';
import { send } from '../api/client';
import { type FogFunction, useRegistry } from '../api/registry';
import { formatTime, matches, plural } from '../lib/format';
import { go, href, useParam } from '../lib/router';
import type { Picture } from '../live/reducer';
import { usePicture, useRows } from '../live/store';
import { ConfirmButton, useChange } from '../ui/actions';
import { type Column, DataTable } from '../ui/DataTable';
import { PlusIcon, TrashIcon } from '../ui/icons';
import { LogTail } from '../ui/LogTail';
import { Filter, Page, Panel } from '../ui/Page';
import { Empty, Failure, Loading } from '../ui/States';
import { Status } from '../ui/Status';
import { AttributeTable, EntityChart } from './EntityView';
import { linesOf, resultsOf, useEntities, useTasks } from './results';
import { taskColumns } from './Tasks';

const intentsOf = (picture: Picture) => picture.intents;

const newFunction = (
  <Button component="a" href={href(['functions', 'new'])} leftSection={<PlusIcon size={16} />}>
    New function
  </Button>
);

/** On a function's own page its name need not be repeated in each row. */
const ownTaskColumns = taskColumns.filter((column) => column.key !== 'topology');

const inputs = (row: FogFunction) =>
  row.topology.tasks.flatMap((task) => task.input_streams.map((input) => input.selected_type));
const outputs = (row: FogFunction) =>
  row.topology.tasks.flatMap((task) => task.output_streams.map((output) => output.entity_type));

export function Functions() {
  const functions = useRegistry('fogfunctions');
  const tasks = useTasks();
  const [filter, setFilter] = useParam('filter');
  const columns = useMemo<Column<FogFunction>[]>(() => {
    const of = (name: string) => tasks.filter((task) => task.TopologyName === name);
    return [
      { key: 'name', title: 'Function', render: (row) => row.name, sort: (row) => row.name },
      { key: 'status', title: 'Status', render: (row) => <Status word={row.status} />, sort: (row) => row.status },
      { key: 'input', title: 'Input', render: (row) => inputs(row).join(', ') },
      { key: 'output', title: 'Output', render: (row) => outputs(row).join(', ') || '–' },
      {
        key: 'tasks',
        title: 'Tasks',
        render: (row) => {
          const own = of(row.name);
          const failed = own.filter((task) => task.Status === 'failed').length;
          return (
            <>
              {own.filter((task) => task.Status === 'running').length} of {own.length} running
              {failed > 0 && (
                <Text span c="var(--bad)" size="sm">
                  , {failed} failed
                </Text>
              )}
            </>
          );
        },
        sort: (row) => of(row.name).length,
      },
      {
        key: 'operator',
        title: 'Operator',
        render: (row) => row.topology.tasks.map((task) => task.operator).join(', '),
      },
    ];
  }, [tasks]);
  if (functions.isPending) return <Loading what="functions" />;
  if (functions.isError) return <Failure error={functions.error} retry={functions.refetch} />;
  const rows = Object.values(functions.data).filter(
    (row) => !filter || matches(filter, row.name, row.status, ...inputs(row), ...outputs(row)),
  );
  return (
    <Page
      title="Functions"
      about="Each runs as soon as there is data of its input type."
      actions={
        <>
          <Filter label="Filter functions" />
          {newFunction}
        </>
      }
    >
      <Panel>
        <DataTable
          label="Functions"
          rows={rows}
          columns={columns}
          rowKey={(row) => row.name}
          rowHref={(row) => href(['functions', row.name])}
          filter={filter}
          clearFilter={() => setFilter('')}
          empty={
            <Empty title="No functions yet" action={newFunction}>
              Write a few lines of Python or JavaScript, choose what they are called with, and press Run.
            </Empty>
          }
        />
      </Panel>
    </Page>
  );
}

/** One function: whether it runs, on what, what it logs, and its results as they come. */
export function FunctionPage({ name }: { name: string }) {
  const functions = useRegistry('fogfunctions');
  const operators = useRegistry('operators');
  const allTasks = useTasks();
  const entities = useEntities();
  const loaded = usePicture((picture) => picture.loaded);
  const intent = useRows(intentsOf).find((state) => state.id === functions.data?.[name]?.intent.id);
  const [chosen] = useParam('task');
  const toggle = useChange(
    (status: string) =>
      send('POST', `fogfunction/${encodeURIComponent(name)}/${status === 'enabled' ? 'disable' : 'enable'}`),
    (status) => `${name} is ${status === 'enabled' ? 'disabled' : 'enabled'}`,
  );
  const remove = useChange(
    async (ownOperator: string | undefined) => {
      await send('DELETE', `fogfunction/${encodeURIComponent(name)}`);
      if (ownOperator) await send('DELETE', `operator/${encodeURIComponent(ownOperator)}`);
    },
    `Deleted ${name}`,
    () => go(href('functions')),
  );
  const tasks = useMemo(() => allTasks.filter((task) => task.TopologyName === name), [allTasks, name]);
  const results = useMemo(() => resultsOf(entities, tasks), [entities, tasks]);
  if (functions.isPending || operators.isPending || !loaded) return <Loading what={name} />;
  if (functions.isError) return <Failure error={functions.error} retry={functions.refetch} />;
  const found = functions.data[name];
  if (!found) {
    return (
      <Empty
        title={`There is no function ${name}`}
        action={
          <Button component="a" href={href('functions')} variant="light" size="xs">
            All functions
          </Button>
        }
      >
        It may have been deleted.
      </Empty>
    );
  }
  const operator = operators.data?.[found.topology.tasks[0]?.operator ?? ''];
  const ownOperator = operator?.code && operator.name === name ? operator.name : undefined;
  const logged =
    tasks.find((task) => task.TaskID === chosen) ?? tasks.find((task) => task.Status === 'failed') ?? tasks[0];
  const latest = results[0];
  return (
    <Page
      title={name}
      about={
        <Group gap="lg" component="span">
          <Status word={found.status} />
          <span>
            {inputs(found).join(', ')} → {outputs(found).join(', ') || 'no output'}
          </span>
          {intent && intent.status !== 'active' && <Status word={intent.status} />}
        </Group>
      }
      actions={
        <>
          {operator?.code && (
            <Button component="a" href={href(['functions', 'new'], { edit: name })} variant="default">
              Edit
            </Button>
          )}
          <Button variant="default" onClick={() => toggle.mutate(found.status)} loading={toggle.isPending}>
            {found.status === 'enabled' ? 'Disable' : 'Enable'}
          </Button>
          <ConfirmButton
            label="Delete"
            icon={<TrashIcon size={16} />}
            question={`Delete ${name}?`}
            confirm="Delete"
            onConfirm={() => remove.mutate(ownOperator)}
            loading={remove.isPending}
          >
            Its tasks are stopped{ownOperator ? ', and the operator with its code is deleted' : ''}. This cannot be
            undone.
          </ConfirmButton>
        </>
      }
    >
      {intent?.status === 'failed' && (
        <Alert color="red" title="The function cannot run as it is" role="alert">
          {intent.reason}
        </Alert>
      )}
      <Panel title={plural(tasks.length, 'task')}>
        <DataTable
          label={`Tasks of ${name}`}
          rows={tasks}
          columns={ownTaskColumns}
          rowKey={(row) => row.TaskID}
          rowHref={(row) => href(['functions', name], { task: row.TaskID })}
          selected={logged?.TaskID}
          empty={
            found.status === 'enabled' ? (
              <Empty title="Waiting for data">
                A task starts as soon as there is an entity of type {inputs(found).join(' and ')}.
              </Empty>
            ) : (
              <Empty title="Disabled">Enable the function to start its tasks.</Empty>
            )
          }
        />
      </Panel>
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
        <Panel
          title="Results"
          actions={
            <Text size="sm" c="dimmed">
              {latest
                ? `${results.length > 1 ? `${results.length} entities, newest ` : ''}${formatTime(latest.updated)}`
                : ''}
            </Text>
          }
        >
          {latest ? (
            <>
              {linesOf(latest).length > 0 && <EntityChart entity={latest} height={180} />}
              <AttributeTable entity={latest} />
              {results.length > 1 && (
                <Text size="sm" p="sm">
                  <Anchor href={href('entities', { scope: 'results', type: latest.type })} size="sm">
                    All {results.length} results
                  </Anchor>
                </Text>
              )}
            </>
          ) : (
            <Empty title="No results yet">What the function publishes appears here.</Empty>
          )}
        </Panel>
        <Panel title="Log" actions={logged && <span className="mono break">{logged.TaskID}</span>}>
          {logged ? (
            <LogTail key={logged.TaskID} task={logged.TaskID} />
          ) : (
            <Empty title="No log">There is no task yet.</Empty>
          )}
        </Panel>
      </SimpleGrid>
      {operator?.code && (
        <Panel title={`Code (${operator.code.language})`}>
          <Code block bg="transparent" style={{ maxHeight: 420, overflow: 'auto' }}>
            {operator.code.source}
          </Code>
        </Panel>
      )}
    </Page>
  );
}
