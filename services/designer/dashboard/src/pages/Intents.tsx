import { Anchor, Button, Code, NumberInput, Select, SimpleGrid, Switch, Text, Textarea } from '@mantine/core';
import { useState } from 'react';
import { send } from '../api/client';
import { type GeoScope, type Intent, useRegistry } from '../api/registry';
import { matches } from '../lib/format';
import { go, href, useParam } from '../lib/router';
import type { Picture } from '../live/reducer';
import { useRows } from '../live/store';
import { ConfirmButton, CopyId, useChange } from '../ui/actions';
import { type Column, DataTable } from '../ui/DataTable';
import { FormModal } from '../ui/FormModal';
import { PlusIcon, TrashIcon } from '../ui/icons';
import { Filter, Page, Panel } from '../ui/Page';
import { Empty, Failure, Loading } from '../ui/States';
import { Status } from '../ui/Status';
import { useTasks } from './results';
import { describe, parseVertices } from './scope';

const statesOf = (picture: Picture) => picture.intents;

export function Intents() {
  const intents = useRegistry('serviceintents');
  const functions = useRegistry('fogfunctions');
  const states = useRows(statesOf);
  const tasks = useTasks();
  const [filter, setFilter] = useParam('filter');
  const [open, setOpen] = useState(false);
  const remove = useChange((id: string) => send('DELETE', `intent/${encodeURIComponent(id)}`), 'Deleted the intent');
  if (intents.isPending) return <Loading what="intents" />;
  if (intents.isError) return <Failure error={intents.error} retry={intents.refetch} />;
  const ofFunction = (intent: Intent) => functions.data?.[intent.topology]?.intent.id === intent.id;
  const all = [
    ...Object.values(intents.data),
    ...Object.values(functions.data ?? {})
      .filter((one) => one.status === 'enabled')
      .map((one) => one.intent),
  ];
  const rows = all.filter((row) => !filter || matches(filter, row.id, row.topology, row.qos));
  const state = (row: Intent) => states.find((one) => one.id === row.id);
  const columns: Column<Intent>[] = [
    { key: 'id', title: 'Intent', render: (row) => <CopyId id={row.id} />, sort: (row) => row.id },
    {
      key: 'topology',
      title: 'Runs',
      render: (row) =>
        ofFunction(row) ? (
          <Anchor href={href(['functions', row.topology])} size="sm">
            {row.topology}
          </Anchor>
        ) : (
          <Anchor href={href(['topologies', row.topology])} size="sm">
            {row.topology}
          </Anchor>
        ),
      sort: (row) => row.topology,
    },
    {
      key: 'status',
      title: 'Status',
      render: (row) => (
        <>
          <Status word={state(row)?.status ?? 'pending'} />
          {state(row)?.reason && (
            <Text size="xs" c="dimmed" className="break">
              {state(row)?.reason}
            </Text>
          )}
        </>
      ),
      sort: (row) => state(row)?.status ?? '',
    },
    {
      key: 'tasks',
      title: 'Tasks',
      render: (row) => {
        const count = tasks.filter((task) => task.ServiceIntentID === row.id).length;
        return count > 0 ? (
          <Anchor href={href('tasks', { filter: row.id })} size="sm">
            {count}
          </Anchor>
        ) : (
          0
        );
      },
      number: true,
    },
    { key: 'qos', title: 'Objective', render: (row) => row.qos || 'NONE', sort: (row) => row.qos },
    {
      key: 'priority',
      title: 'Priority',
      render: (row) => `${row.priority.level}${row.priority.exclusive ? ', exclusive' : ''}`,
      sort: (row) => row.priority.level,
    },
    { key: 'scope', title: 'Where', render: (row) => describe(row.geoscope) },
    {
      key: 'remove',
      title: '',
      render: (row) =>
        ofFunction(row) ? null : (
          <ConfirmButton
            label={`Delete ${row.id}`}
            icon={<TrashIcon />}
            question="Delete this intent?"
            confirm="Delete"
            onConfirm={() => remove.mutate(row.id)}
            compact
          >
            Its tasks are stopped.
          </ConfirmButton>
        ),
    },
  ];
  const add = (
    <Button leftSection={<PlusIcon size={16} />} onClick={() => setOpen(true)}>
      New intent
    </Button>
  );
  return (
    <Page
      title="Intents"
      about="What shall run, where, and with which objective. Those of enabled functions are listed too."
      actions={
        <>
          <Filter label="Filter intents" />
          {add}
        </>
      }
    >
      <NewIntent opened={open} close={() => setOpen(false)} />
      <Panel>
        <DataTable
          label="Intents"
          rows={rows}
          columns={columns}
          rowKey={(row) => row.id}
          filter={filter}
          clearFilter={() => setFilter('')}
          empty={
            <Empty title="No intents yet" action={add}>
              An intent runs a topology. Functions bring theirs with them.
            </Empty>
          }
        />
      </Panel>
    </Page>
  );
}

interface NewIntentProps {
  topology?: string;
  opened: boolean;
  close: () => void;
}

export function NewIntent({ topology: given, opened, close }: NewIntentProps) {
  const services = useRegistry('services');
  const [topology, setTopology] = useState(given ?? '');
  const [qos, setQos] = useState('NONE');
  const [level, setLevel] = useState<string | number>(0);
  const [exclusive, setExclusive] = useState(false);
  const [scopeType, setScopeType] = useState('global');
  const [latitude, setLatitude] = useState<string | number>('');
  const [longitude, setLongitude] = useState<string | number>('');
  const [radius, setRadius] = useState<string | number>(1000);
  const [corners, setCorners] = useState('');
  const vertices = parseVertices(corners);
  const scope: GeoScope =
    scopeType === 'circle'
      ? {
          scopeType,
          scopeValue: { centerLatitude: Number(latitude), centerLongitude: Number(longitude), radius: Number(radius) },
        }
      : scopeType === 'polygon'
        ? { scopeType, scopeValue: { vertices } }
        : { scopeType: 'global', scopeValue: 'global' };
  const problem = !topology
    ? 'Choose a topology'
    : scopeType === 'circle' && (latitude === '' || longitude === '' || Number(radius) <= 0)
      ? 'Give the centre and the radius'
      : scopeType === 'polygon' && !vertices
        ? 'Give at least three corners'
        : undefined;
  return (
    <FormModal
      title={given ? `Run ${given}` : 'New intent'}
      submit="Run"
      opened={opened}
      close={close}
      problem={problem}
      onSubmit={() =>
        send('POST', 'intent', { topology, qos, priority: { exclusive, level: Number(level) }, geoscope: scope })
      }
      onDone={() => go(href('intents'))}
    >
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        <Select
          label="Topology"
          data={Object.keys(services.data ?? {})}
          value={topology || null}
          onChange={(value) => setTopology(value ?? '')}
          disabled={!!given}
          searchable
          nothingFoundMessage="There is no topology"
        />
        <Select
          label="Objective"
          data={[
            { value: 'NONE', label: 'None' },
            { value: 'MIN_LATENCY', label: 'Lowest latency' },
            { value: 'MAX_THROUGHPUT', label: 'Highest throughput' },
            { value: 'MIN_COST', label: 'Lowest cost' },
          ]}
          value={qos}
          onChange={(value) => setQos(value ?? 'NONE')}
          allowDeselect={false}
        />
        <NumberInput
          label="Priority"
          description="Higher goes first among exclusive ones"
          min={0}
          max={100}
          value={level}
          onChange={setLevel}
        />
        <Switch
          label="Wants a worker for itself (exclusive)"
          checked={exclusive}
          onChange={(event) => setExclusive(event.currentTarget.checked)}
          mt="xl"
        />
        <Select
          label="Where"
          data={[
            { value: 'global', label: 'Everywhere' },
            { value: 'circle', label: 'Within a circle' },
            { value: 'polygon', label: 'Within a polygon' },
          ]}
          value={scopeType}
          onChange={(value) => setScopeType(value ?? 'global')}
          allowDeselect={false}
        />
        {scopeType === 'circle' && <NumberInput label="Radius in metres" min={1} value={radius} onChange={setRadius} />}
        {scopeType === 'circle' && (
          <>
            <NumberInput
              label="Latitude of the centre"
              min={-90}
              max={90}
              decimalScale={6}
              value={latitude}
              onChange={setLatitude}
            />
            <NumberInput
              label="Longitude of the centre"
              min={-180}
              max={180}
              decimalScale={6}
              value={longitude}
              onChange={setLongitude}
            />
          </>
        )}
      </SimpleGrid>
      {scopeType === 'polygon' && (
        <Textarea
          label="Corners"
          description="Latitude and longitude, one corner a line"
          placeholder={'47.60, -122.35\n47.60, -122.25\n47.70, -122.30'}
          value={corners}
          onChange={(event) => setCorners(event.currentTarget.value)}
          autosize
          minRows={4}
          error={corners && !vertices ? 'At least three corners with numbers in range' : undefined}
        />
      )}
      {scopeType !== 'global' && (
        <Text size="xs" c="dimmed">
          It applies to inputs that are marked “in the area”. Entities without a location are outside.{' '}
          <Code>{JSON.stringify(scope.scopeValue)}</Code>
        </Text>
      )}
    </FormModal>
  );
}
