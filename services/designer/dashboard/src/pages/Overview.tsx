import { Anchor, Button, SimpleGrid, Stack, Text } from '@mantine/core';
import { useRegistry } from '../api/registry';
import { formatTime, plural } from '../lib/format';
import { href } from '../lib/router';
import type { Picture } from '../live/reducer';
import { usePicture, useRows } from '../live/store';
import type { LiveEvent, ServiceRow } from '../live/types';
import { PlusIcon } from '../ui/icons';
import { Page, Panel } from '../ui/Page';
import { Empty, Loading } from '../ui/States';
import { Status, type Tone } from '../ui/Status';
import { EntityChart } from './EntityView';
import { resultsOf, useEntities, useTasks } from './results';

const servicesOf = (picture: Picture) => picture.services;
const workersOf = (picture: Picture) => picture.workers;
const intentsOf = (picture: Picture) => picture.intents;

export function Overview() {
  const loaded = usePicture((picture) => picture.loaded);
  if (!loaded) return <Loading what="the live picture" />;
  return (
    <Page
      title="Overview"
      about="What this node runs now."
      actions={
        <Button component="a" href={href(['functions', 'new'])} leftSection={<PlusIcon size={16} />}>
          New function
        </Button>
      }
    >
      <ServiceTiles />
      <Counts />
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing="md">
        <Attention />
        <LatestResult />
      </SimpleGrid>
      <Events />
    </Page>
  );
}

export function serviceStatus(service: ServiceRow): [string, Tone] {
  if (!service.up) return ['down', 'bad'];
  return service.ready === false ? ['not ready', 'warn'] : ['up', 'ok'];
}

const ORDER = ['broker', 'discovery', 'designer', 'master'];

function ServiceTiles() {
  const services = useRows(servicesOf);
  const rank = (service: ServiceRow) => {
    const place = ORDER.indexOf(service.name);
    return place >= 0 ? place : service.name === 'bus' ? 9 : 5;
  };
  const ordered = [...services].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
  return (
    <ul className="tiles" aria-label="Services">
      {ordered.map((service) => {
        const [word, tone] = serviceStatus(service);
        return (
          <li key={service.name} className="panel">
            <Stack gap={2} p="sm">
              <Text
                fw={600}
                truncate
                title={service.name}
                tt={service.name.startsWith('Worker') ? undefined : 'capitalize'}
              >
                {service.name}
              </Text>
              <Text size="sm" component="span">
                <Status word={word} tone={tone} />
                <Text span size="xs" c="dimmed" ml={8}>
                  since {formatTime(service.since)}
                </Text>
              </Text>
              {service.version && (
                <Text size="xs" c="dimmed">
                  version {service.version}
                </Text>
              )}
              {service.lastError && (
                <Text
                  size="xs"
                  c={service.up ? 'dimmed' : 'var(--bad)'}
                  lineClamp={2}
                  className="break"
                  title={service.lastError}
                >
                  {service.up ? 'Last error: ' : ''}
                  {service.lastError}
                </Text>
              )}
            </Stack>
          </li>
        );
      })}
    </ul>
  );
}

function Counts() {
  const tasks = useTasks();
  const entities = useEntities();
  const workers = useRows(workersOf);
  const functions = useRegistry('fogfunctions');
  const running = tasks.filter((task) => task.Status === 'running').length;
  const enabled = Object.values(functions.data ?? {}).filter((one) => one.status === 'enabled').length;
  const capacity = workers.reduce((sum, worker) => sum + worker.capacity, 0);
  const tiles: [string, string, string, string][] = [
    ['Functions', String(Object.keys(functions.data ?? {}).length), `${enabled} enabled`, href('functions')],
    ['Tasks running', String(running), `of ${plural(tasks.length, 'task')}`, href('tasks')],
    ['Entities', entities.length >= 5000 ? '5000+' : String(entities.length), 'in the live view', href('entities')],
    ['Workers', String(workers.length), `room for ${plural(capacity, 'task')}`, href('system')],
  ];
  return (
    <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
      {tiles.map(([title, value, note, link]) => (
        <Anchor key={title} href={link} underline="never" c="inherit" className="panel">
          <Stack gap={0} p="sm">
            <Text size="sm" c="dimmed">
              {title}
            </Text>
            <span className="tile-value">{value}</span>
            <Text size="xs" c="dimmed">
              {note}
            </Text>
          </Stack>
        </Anchor>
      ))}
    </SimpleGrid>
  );
}

interface Trouble {
  key: string;
  text: string;
  reason: string;
  link: string;
}

function Attention() {
  const services = useRows(servicesOf);
  const intents = useRows(intentsOf);
  const workers = useRows(workersOf);
  const tasks = useTasks();
  const troubles: Trouble[] = [
    ...services
      .filter((service) => !service.up)
      .map((service) => ({
        key: service.name,
        text: `${service.name} is down`,
        reason: service.lastError ?? '',
        link: href('system'),
      })),
    ...(workers.length === 0
      ? [
          {
            key: 'no workers',
            text: 'No worker has joined',
            reason: 'Tasks cannot run anywhere.',
            link: href('system'),
          },
        ]
      : []),
    ...intents
      .filter((intent) => intent.status === 'failed')
      .map((intent) => ({
        key: intent.id,
        text: `Intent ${intent.id} failed`,
        reason: intent.reason ?? '',
        link: href('intents'),
      })),
    ...tasks
      .filter((task) => task.Status === 'failed')
      .map((task) => ({
        key: task.TaskID,
        text: `Task ${task.TaskID} failed`,
        reason: task.Reason ?? '',
        link: href(['tasks', task.TaskID]),
      })),
  ];
  return (
    <Panel title="Needs attention">
      {troubles.length === 0 ? (
        <Empty title="All is well">Services answer, and no task or intent has failed.</Empty>
      ) : (
        <Stack gap={0} component="ul" m={0} p="md" style={{ listStyle: 'none', maxHeight: 320, overflow: 'auto' }}>
          {troubles.slice(0, 50).map((trouble) => (
            <li key={trouble.key} style={{ padding: '0.35rem 0' }}>
              <Anchor href={trouble.link} size="sm" className="break">
                {trouble.text}
              </Anchor>
              {trouble.reason && (
                <Text size="xs" c="dimmed" className="break" lineClamp={2}>
                  {trouble.reason}
                </Text>
              )}
            </li>
          ))}
        </Stack>
      )}
    </Panel>
  );
}

function LatestResult() {
  const entities = useEntities();
  const tasks = useTasks();
  const latest = resultsOf(entities, tasks)[0];
  return (
    <Panel
      title="Latest result"
      actions={
        latest && (
          <Anchor href={href(['entities', latest.id])} size="sm" className="mono break">
            {latest.id}
          </Anchor>
        )
      }
    >
      {latest ? (
        <EntityChart entity={latest} height={190} />
      ) : (
        <Empty
          title="No results yet"
          action={
            <Button component="a" href={href(['functions', 'new'])} size="xs" variant="light">
              Write a function
            </Button>
          }
        >
          Results appear here as soon as a task publishes an entity.
        </Empty>
      )}
    </Panel>
  );
}

const tones: Record<LiveEvent['level'], Tone> = { info: 'idle', warning: 'warn', error: 'bad' };

function Events() {
  const events = usePicture((picture) => picture.events);
  return (
    <Panel title="Recent events">
      {events.length === 0 ? (
        <Empty title="Nothing has happened yet">
          Tasks that start or fail, and services that come and go, are listed here.
        </Empty>
      ) : (
        <div style={{ maxHeight: 300, overflow: 'auto' }}>
          <table className="grid-table" aria-label="Recent events">
            <tbody>
              {[...events]
                .reverse()
                .slice(0, 60)
                .map((event, index) => (
                  // biome-ignore lint/suspicious/noArrayIndexKey: two events may have the same time and text.
                  <tr key={`${event.time}${index}`}>
                    <td className="mono" style={{ width: 90 }}>
                      {formatTime(event.time)}
                    </td>
                    <td style={{ width: 90 }}>
                      <Status word={event.about} tone={tones[event.level]} />
                    </td>
                    <td className="break">{event.text}</td>
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}
