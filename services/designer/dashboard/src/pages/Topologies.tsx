import {
  ActionIcon,
  Anchor,
  Autocomplete,
  Button,
  Code,
  Group,
  JsonInput,
  Select,
  SimpleGrid,
  Stack,
  Switch,
  Tabs,
  TagsInput,
  Text,
  TextInput,
} from '@mantine/core';
import { useState } from 'react';
import { send } from '../api/client';
import { type Service, type Task, type Topology, useEntityTypes, useRegistry } from '../api/registry';
import { matches } from '../lib/format';
import { go, href, useParam } from '../lib/router';
import { ConfirmButton, useChange } from '../ui/actions';
import { type Column, DataTable } from '../ui/DataTable';
import { FormModal } from '../ui/FormModal';
import { Graph } from '../ui/Graph';
import { PlusIcon, TrashIcon } from '../ui/icons';
import { Filter, Page, Panel } from '../ui/Page';
import { Empty, Failure, Loading } from '../ui/States';
import { NewIntent } from './Intents';

const columns: Column<Service>[] = [
  { key: 'name', title: 'Topology', render: (row) => row.topology.name, sort: (row) => row.topology.name },
  { key: 'description', title: 'Description', render: (row) => row.topology.description },
  { key: 'tasks', title: 'Tasks', render: (row) => row.topology.tasks.map((task) => task.name).join(' → ') },
  {
    key: 'count',
    title: 'Count',
    render: (row) => row.topology.tasks.length,
    sort: (row) => row.topology.tasks.length,
    number: true,
  },
];

export function Topologies({ selected }: { selected?: string }) {
  const services = useRegistry('services');
  const [filter, setFilter] = useParam('filter');
  const [editing, setEditing] = useState<Topology | undefined>();
  if (services.isPending) return <Loading what="topologies" />;
  if (services.isError) return <Failure error={services.error} retry={services.refetch} />;
  const rows = Object.values(services.data).filter(
    (row) => !filter || matches(filter, row.topology.name, row.topology.description),
  );
  const add = (
    <Button leftSection={<PlusIcon size={16} />} onClick={() => setEditing(blank())}>
      New topology
    </Button>
  );
  return (
    <Page
      title="Topologies"
      about="Graphs of tasks: one that consumes the output type of another follows it."
      actions={
        <>
          <Filter label="Filter topologies" />
          {add}
        </>
      }
    >
      {editing && <TopologyForm key={editing.name} initial={editing} close={() => setEditing(undefined)} />}
      {selected && <Detail key={selected} name={selected} service={services.data[selected]} edit={setEditing} />}
      <Panel>
        <DataTable
          label="Topologies"
          rows={rows}
          columns={columns}
          rowKey={(row) => row.topology.name}
          rowHref={(row) => href(['topologies', row.topology.name], { filter })}
          selected={selected}
          filter={filter}
          clearFilter={() => setFilter('')}
          empty={
            <Empty title="No topologies yet" action={add}>
              A topology joins operators by the types of their inputs and outputs. An intent runs it.
            </Empty>
          }
        />
      </Panel>
    </Page>
  );
}

function Detail({
  name,
  service,
  edit,
}: {
  name: string;
  service: Service | undefined;
  edit: (topology: Topology) => void;
}) {
  const intents = useRegistry('serviceintents');
  const [open, setOpen] = useState(false);
  const own = Object.values(intents.data ?? {}).filter((intent) => intent.topology === name);
  const remove = useChange(
    () => send('DELETE', `service/${encodeURIComponent(name)}${own.length > 0 ? '?cascade=true' : ''}`),
    `Deleted ${name}`,
    () => go(href('topologies')),
  );
  const close = (
    <Button component="a" href={href('topologies')} variant="default" size="xs">
      Close
    </Button>
  );
  if (!service) {
    return (
      <Panel title={name} actions={close}>
        <Empty title="There is no such topology">It may have been deleted.</Empty>
      </Panel>
    );
  }
  return (
    <Panel
      title={name}
      actions={
        <Group gap="xs">
          <Button size="xs" onClick={() => setOpen(true)}>
            Run it
          </Button>
          <Button size="xs" variant="default" onClick={() => edit(service.topology)}>
            Edit
          </Button>
          <ConfirmButton
            label={`Delete ${name}`}
            icon={<TrashIcon />}
            question={`Delete ${name}?`}
            confirm="Delete"
            onConfirm={() => remove.mutate(undefined)}
            loading={remove.isPending}
            compact
          >
            {own.length > 0
              ? `Its intents (${own.length}) are deleted with it, and their tasks are stopped.`
              : 'No intent uses it.'}
          </ConfirmButton>
          {close}
        </Group>
      }
    >
      <NewIntent topology={name} opened={open} close={() => setOpen(false)} />
      <Tabs defaultValue="tasks">
        <Tabs.List px="sm">
          <Tabs.Tab value="tasks">Tasks</Tabs.Tab>
          <Tabs.Tab value="json">JSON</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="tasks">
          <Stack gap={0} p="md">
            {own.length > 0 && (
              <Text size="sm" mb="sm">
                Asked for by{' '}
                {own.map((intent) => (
                  <Anchor key={intent.id} href={href('intents', { filter: intent.id })} size="sm" className="mono">
                    {intent.id}
                  </Anchor>
                ))}
              </Text>
            )}
            <Graph tasks={service.topology.tasks} />
            <TaskList tasks={service.topology.tasks} />
          </Stack>
        </Tabs.Panel>
        <Tabs.Panel value="json">
          <Code block bg="transparent">
            {JSON.stringify(service.topology, null, 2)}
          </Code>
        </Tabs.Panel>
      </Tabs>
    </Panel>
  );
}

function TaskList({ tasks }: { tasks: Task[] }) {
  return (
    <table className="grid-table" aria-label="Tasks of the topology">
      <thead>
        <tr>
          <th scope="col">Task</th>
          <th scope="col">Operator</th>
          <th scope="col">Inputs</th>
          <th scope="col">Outputs</th>
        </tr>
      </thead>
      <tbody>
        {tasks.map((task) => (
          <tr key={task.name}>
            <td>{task.name}</td>
            <td>
              <Anchor href={href(['operators', task.operator])} size="sm">
                {task.operator}
              </Anchor>
            </td>
            <td>
              {task.input_streams.map((input) => (
                <div key={input.selected_type}>
                  {input.selected_type}{' '}
                  <Text span size="xs" c="dimmed">
                    by {input.groupby || 'ALL'}
                    {input.scoped ? ', in the area' : ''}
                    {input.selected_attributes.length > 0 ? `, ${input.selected_attributes.join(', ')}` : ''}
                  </Text>
                </div>
              ))}
            </td>
            <td>{task.output_streams.map((output) => output.entity_type).join(', ') || '–'}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function blankTask(name: string): Task {
  return {
    name,
    operator: '',
    input_streams: [{ selected_type: '', selected_attributes: [], groupby: 'EntityID', scoped: false }],
    output_streams: [{ entity_type: '' }],
  };
}

function blank(): Topology {
  return { name: '', description: '', tasks: [blankTask('main')] };
}

/** The parts of a topology as fields, or as JSON; both change the same thing. */
function TopologyForm({ initial, close }: { initial: Topology; close: () => void }) {
  const [topology, setTopology] = useState(initial);
  const [json, setJson] = useState<string | undefined>();
  let problem = topology.name ? undefined : 'Give a name';
  let parsed = topology;
  if (json !== undefined) {
    try {
      parsed = JSON.parse(json);
      problem = undefined;
    } catch {
      problem = 'The JSON is not complete';
    }
  }
  const clean = (from: Topology) => ({
    topology: {
      ...from,
      tasks: from.tasks?.map((task) => ({
        ...task,
        output_streams: task.output_streams.filter((output) => output.entity_type),
      })),
    },
  });
  const setTask = (index: number, task: Task) =>
    setTopology({ ...topology, tasks: topology.tasks.map((old, place) => (place === index ? task : old)) });
  return (
    <FormModal
      title={initial.name ? `Edit ${initial.name}` : 'New topology'}
      submit="Save"
      size="xl"
      opened
      close={close}
      problem={problem}
      onSubmit={() => send('POST', 'service', [clean(parsed)])}
      onDone={() => go(href(['topologies', parsed.name]))}
    >
      <Tabs
        value={json === undefined ? 'form' : 'json'}
        onChange={(tab) => {
          if (tab === 'json') setJson(JSON.stringify(topology, null, 2));
          else if (!problem) {
            setTopology(parsed);
            setJson(undefined);
          }
        }}
      >
        <Tabs.List>
          <Tabs.Tab value="form">Form</Tabs.Tab>
          <Tabs.Tab value="json">JSON</Tabs.Tab>
        </Tabs.List>
      </Tabs>
      {json !== undefined ? (
        <JsonInput
          label="Topology"
          value={json}
          onChange={setJson}
          autosize
          minRows={16}
          maxRows={28}
          validationError="Not JSON"
          formatOnBlur={false}
        />
      ) : (
        <>
          <SimpleGrid cols={{ base: 1, sm: 2 }}>
            <TextInput
              label="Name"
              value={topology.name}
              disabled={initial.name !== ''}
              onChange={(event) => setTopology({ ...topology, name: event.currentTarget.value })}
              data-autofocus
            />
            <TextInput
              label="Description"
              value={topology.description}
              onChange={(event) => setTopology({ ...topology, description: event.currentTarget.value })}
            />
          </SimpleGrid>
          {topology.tasks.map((task, index) => (
            <TaskFields
              // biome-ignore lint/suspicious/noArrayIndexKey: a task is known by its place; its name changes while it is typed.
              key={index}
              index={index}
              task={task}
              onChange={(changed) => setTask(index, changed)}
              remove={
                topology.tasks.length > 1
                  ? () => setTopology({ ...topology, tasks: topology.tasks.filter((_, place) => place !== index) })
                  : undefined
              }
            />
          ))}
          <Button
            variant="default"
            size="xs"
            leftSection={<PlusIcon size={14} />}
            onClick={() =>
              setTopology({ ...topology, tasks: [...topology.tasks, blankTask(`task${topology.tasks.length + 1}`)] })
            }
            style={{ alignSelf: 'flex-start' }}
          >
            Add a task
          </Button>
        </>
      )}
    </FormModal>
  );
}

interface TaskFieldsProps {
  index: number;
  task: Task;
  onChange: (task: Task) => void;
  remove?: () => void;
}

function TaskFields({ index, task, onChange, remove }: TaskFieldsProps) {
  const operators = useRegistry('operators');
  const types = useEntityTypes();
  const which = `task ${index + 1}`;
  const setInput = (place: number, change: Partial<Task['input_streams'][number]>) =>
    onChange({
      ...task,
      input_streams: task.input_streams.map((old, at) => (at === place ? { ...old, ...change } : old)),
    });
  return (
    <fieldset className="panel" style={{ padding: '0.75rem', margin: 0 }}>
      <legend>Task {index + 1}</legend>
      <Stack gap="sm">
        <Group grow align="flex-end">
          <TextInput
            label="Name"
            aria-label={`Name of ${which}`}
            value={task.name}
            onChange={(event) => onChange({ ...task, name: event.currentTarget.value })}
          />
          <Select
            label="Operator"
            aria-label={`Operator of ${which}`}
            data={Object.keys(operators.data ?? {})}
            value={task.operator || null}
            onChange={(operator) => onChange({ ...task, operator: operator ?? '' })}
            searchable
            nothingFoundMessage="Register an operator first"
          />
          <TagsInput
            label="Output types"
            aria-label={`Output types of ${which}`}
            value={task.output_streams.map((output) => output.entity_type).filter(Boolean)}
            onChange={(names) => onChange({ ...task, output_streams: names.map((entity_type) => ({ entity_type })) })}
          />
        </Group>
        {task.input_streams.map((input, place) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: an input is known by its place; its type changes while it is typed.
          <Group key={place} align="flex-end" gap="sm">
            <Autocomplete
              label="Input type"
              aria-label={`Input type ${place + 1} of ${which}`}
              data={types.data ?? []}
              value={input.selected_type}
              onChange={(selected_type) => setInput(place, { selected_type })}
            />
            <TagsInput
              label="Attributes (none: all)"
              aria-label={`Attributes of input ${place + 1} of ${which}`}
              value={input.selected_attributes}
              onChange={(selected_attributes) => setInput(place, { selected_attributes })}
            />
            <Autocomplete
              label="Grouped by"
              aria-label={`Grouping of input ${place + 1} of ${which}`}
              data={['ALL', 'EntityID', 'EntityType']}
              value={input.groupby}
              onChange={(groupby) => setInput(place, { groupby })}
              w={130}
            />
            <Switch
              label="In the area"
              checked={input.scoped}
              onChange={(event) => setInput(place, { scoped: event.currentTarget.checked })}
              mb={8}
            />
            {task.input_streams.length > 1 && (
              <ActionIcon
                variant="subtle"
                color="gray"
                mb={4}
                aria-label={`Remove input ${place + 1} of ${which}`}
                onClick={() => onChange({ ...task, input_streams: task.input_streams.filter((_, at) => at !== place) })}
              >
                <TrashIcon />
              </ActionIcon>
            )}
          </Group>
        ))}
        <Group>
          <Button
            variant="default"
            size="xs"
            onClick={() =>
              onChange({
                ...task,
                input_streams: [
                  ...task.input_streams,
                  { selected_type: '', selected_attributes: [], groupby: 'ALL', scoped: false },
                ],
              })
            }
          >
            Add an input
          </Button>
          {remove && (
            <Button variant="subtle" color="gray" size="xs" onClick={remove}>
              Remove this task
            </Button>
          )}
        </Group>
      </Stack>
    </fieldset>
  );
}
