import { Anchor, Button, FileButton, Group, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useQueryClient } from '@tanstack/react-query';
import { send } from '../api/client';
import { formatTime } from '../lib/format';
import { href } from '../lib/router';
import type { Picture } from '../live/reducer';
import { usePicture, useRows } from '../live/store';
import type { BrokerRow, MasterRow, ServiceRow, WorkerRow } from '../live/types';
import { type Column, DataTable } from '../ui/DataTable';
import { Page, Panel } from '../ui/Page';
import { Empty, Loading, messageOf } from '../ui/States';
import { Status } from '../ui/Status';
import { serviceStatus } from './Overview';
import { useTasks } from './results';

const servicesOf = (picture: Picture) => picture.services;
const workersOf = (picture: Picture) => picture.workers;
const brokersOf = (picture: Picture) => picture.brokers;
const mastersOf = (picture: Picture) => picture.masters;

const place = (location: { latitude: number; longitude: number }) =>
  location.latitude === 0 && location.longitude === 0 ? 'not given' : `${location.latitude}, ${location.longitude}`;

const serviceColumns: Column<ServiceRow>[] = [
  { key: 'name', title: 'Service', render: (row) => row.name, sort: (row) => row.name },
  {
    key: 'status',
    title: 'Status',
    render: (row) => {
      const [word, tone] = serviceStatus(row);
      return <Status word={word} tone={tone} />;
    },
  },
  { key: 'version', title: 'Version', render: (row) => row.version || '–' },
  { key: 'url', title: 'Address', render: (row) => <span className="mono break">{row.url}</span> },
  { key: 'since', title: 'Since', render: (row) => formatTime(row.since) },
  { key: 'error', title: 'Last error', render: (row) => <span className="break">{row.lastError || '–'}</span> },
];

const brokerColumns: Column<BrokerRow>[] = [
  { key: 'id', title: 'Broker', render: (row) => <span className="mono">{row.id}</span> },
  { key: 'url', title: 'Address', render: (row) => <span className="mono break">{row.myURL}</span> },
  { key: 'beat', title: 'Last heartbeat', render: (row) => formatTime(row.Last_Heartbeat_Update) },
];

const masterColumns: Column<MasterRow>[] = [
  { key: 'id', title: 'Master', render: (row) => <span className="mono">{row.id}</span> },
  { key: 'location', title: 'Location', render: (row) => place(row.location) },
  { key: 'agent', title: 'Agent', render: (row) => <span className="mono break">{row.agent}</span> },
];

export function System() {
  const loaded = usePicture((picture) => picture.loaded);
  const services = useRows(servicesOf);
  const workers = useRows(workersOf);
  const brokers = useRows(brokersOf);
  const masters = useRows(mastersOf);
  const tasks = useTasks();
  if (!loaded) return <Loading what="the live picture" />;
  const workerColumns: Column<WorkerRow>[] = [
    {
      key: 'id',
      title: 'Worker',
      render: (row) => (
        <Anchor href={href('tasks', { filter: row.id })} className="mono">
          {row.id}
        </Anchor>
      ),
      sort: (row) => row.id,
    },
    {
      key: 'tasks',
      title: 'Tasks',
      render: (row) =>
        `${tasks.filter((task) => task.Worker === row.id && task.Status !== 'removed').length} of ${row.capacity}`,
      number: true,
    },
    { key: 'engine', title: 'Engine', render: (row) => row.Engine || 'container' },
    { key: 'languages', title: 'Languages', render: (row) => row.Languages?.join(', ') || '–' },
    { key: 'machine', title: 'Machine', render: (row) => `${row.os} ${row.hardware}` },
    { key: 'location', title: 'Location', render: (row) => place(row.location) },
    { key: 'beat', title: 'Last heartbeat', render: (row) => formatTime(row.Last_Heartbeat_Update) },
  ];
  return (
    <Page title="System" about="The node's services, and who takes part." actions={<Transfer />}>
      <Panel title="Services">
        <DataTable
          label="Services"
          rows={services}
          columns={serviceColumns}
          rowKey={(row) => row.name}
          empty={<Empty title="No service probed yet" />}
        />
      </Panel>
      <Panel title="Workers">
        <DataTable
          label="Workers"
          rows={workers}
          columns={workerColumns}
          rowKey={(row) => row.id}
          empty={<Empty title="No worker has joined">Start fogflow-worker with this node's config.json.</Empty>}
        />
      </Panel>
      <Panel title="Brokers">
        <DataTable
          label="Brokers"
          rows={brokers}
          columns={brokerColumns}
          rowKey={(row) => row.id}
          empty={<Empty title="No broker is known">Discovery lists none, or does not answer.</Empty>}
        />
      </Panel>
      <Panel title="Masters">
        <DataTable
          label="Masters"
          rows={masters}
          columns={masterColumns}
          rowKey={(row) => row.id}
          empty={<Empty title="No master is running">Without one no task is placed.</Empty>}
        />
      </Panel>
    </Page>
  );
}

/** Everything registered as one file, out and in. */
function Transfer() {
  const queries = useQueryClient();
  const take = async (file: File | null) => {
    if (!file) return;
    try {
      const answer = JSON.parse(await send('POST', 'import', JSON.parse(await file.text())));
      const skipped = answer.skipped as { kind: string; id: string; reason: string }[];
      notifications.show({
        color: skipped.length > 0 ? 'yellow' : 'green',
        title: `Imported ${file.name}`,
        message:
          skipped.length > 0
            ? `Left out: ${skipped.map((one) => `${one.id} (${one.reason})`).join('; ')}`
            : 'All of it.',
        autoClose: skipped.length > 0 ? false : 4000,
      });
      queries.invalidateQueries({ queryKey: ['registry'] });
    } catch (error) {
      notifications.show({ color: 'red', title: 'Nothing was imported', message: messageOf(error), autoClose: 10_000 });
    }
  };
  return (
    <Group gap="sm">
      <Text size="sm" c="dimmed">
        Registry:
      </Text>
      <Button component="a" href="export" download="db.json" variant="default" size="sm">
        Export
      </Button>
      <FileButton onChange={take} accept="application/json" inputProps={{ 'aria-label': 'File to import' }}>
        {(props) => (
          <Button {...props} variant="default" size="sm">
            Import
          </Button>
        )}
      </FileButton>
    </Group>
  );
}
