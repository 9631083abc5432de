import {
  ActionIcon,
  Anchor,
  AppShell,
  Burger,
  Group,
  Kbd,
  Modal,
  NavLink,
  Stack,
  Table,
  Text,
  Tooltip,
  useComputedColorScheme,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { type ComponentType, type ReactNode, useEffect, useRef, useState } from 'react';
import { useRegistryEvents } from './api/registry';
import { go, href, useRoute } from './lib/router';
import { usePicture } from './live/store';
import { Devices } from './pages/Devices';
import { Entities } from './pages/Entities';
import { FunctionPage, Functions } from './pages/Functions';
import { Intents } from './pages/Intents';
import { NewFunction } from './pages/NewFunction';
import { Operators } from './pages/Operators';
import { Overview } from './pages/Overview';
import { Subscriptions } from './pages/Subscriptions';
import { System } from './pages/System';
import { Tasks } from './pages/Tasks';
import { Topologies } from './pages/Topologies';
import { ConnectionPill, useIsStale } from './ui/ConnectionPill';
import * as Icons from './ui/icons';
import { Empty } from './ui/States';

interface View {
  path: string;
  title: string;
  icon: ComponentType<{ size?: number }>;
  /** Second key after `g`. */
  key: string;
}

const views: View[] = [
  { path: 'overview', title: 'Overview', icon: Icons.OverviewIcon, key: 'o' },
  { path: 'functions', title: 'Functions', icon: Icons.FunctionIcon, key: 'f' },
  { path: 'tasks', title: 'Tasks', icon: Icons.TaskIcon, key: 't' },
  { path: 'entities', title: 'Entities', icon: Icons.EntityIcon, key: 'e' },
  { path: 'operators', title: 'Operators', icon: Icons.OperatorIcon, key: 'p' },
  { path: 'topologies', title: 'Topologies', icon: Icons.TopologyIcon, key: 'l' },
  { path: 'intents', title: 'Intents', icon: Icons.IntentIcon, key: 'i' },
  { path: 'devices', title: 'Devices', icon: Icons.DeviceIcon, key: 'd' },
  { path: 'subscriptions', title: 'Subscriptions', icon: Icons.SubscriptionIcon, key: 'u' },
  { path: 'system', title: 'System', icon: Icons.SystemIcon, key: 's' },
];

export function App() {
  const { parts } = useRoute();
  const [menu, { toggle, close }] = useDisclosure(false);
  const [help, setHelp] = useState(false);
  const stale = useIsStale();
  const scheme = useComputedColorScheme('light');
  const { setColorScheme } = useMantineColorScheme();
  useRegistryEvents();
  useKeys(() => setHelp(true));
  const dark = scheme === 'dark';
  const title = views.find((view) => view.path === parts[0])?.title ?? 'Not found';
  useEffect(() => {
    document.title = `${title} · FogFlow`;
  }, [title]);

  return (
    <AppShell
      header={{ height: 54 }}
      navbar={{ width: 208, breakpoint: 'sm', collapsed: { mobile: !menu } }}
      padding="lg"
    >
      <button type="button" className="skip" onClick={() => document.getElementById('main')?.focus()}>
        To the content
      </button>
      <AppShell.Header style={{ background: 'var(--panel)', borderColor: 'var(--line)' }}>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger
              opened={menu}
              onClick={toggle}
              hiddenFrom="sm"
              size="sm"
              aria-label={menu ? 'Close the menu' : 'Open the menu'}
            />
            <Logo />
          </Group>
          <Group gap="xs" wrap="nowrap">
            <ConnectionPill />
            <Tooltip label={dark ? 'Light colours' : 'Dark colours'}>
              <ActionIcon
                variant="subtle"
                color="gray"
                size="lg"
                aria-label={dark ? 'Light colours' : 'Dark colours'}
                onClick={() => setColorScheme(dark ? 'light' : 'dark')}
              >
                {dark ? <Icons.SunIcon /> : <Icons.MoonIcon />}
              </ActionIcon>
            </Tooltip>
            <Tooltip label="Help ( ? )">
              <ActionIcon variant="subtle" color="gray" size="lg" aria-label="Help" onClick={() => setHelp(true)}>
                <Icons.HelpIcon />
              </ActionIcon>
            </Tooltip>
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" style={{ background: 'var(--panel)', borderColor: 'var(--line)' }} aria-label="Views">
        {views.map((view) => (
          <NavLink
            key={view.path}
            href={href(view.path)}
            label={view.title}
            active={parts[0] === view.path}
            aria-current={parts[0] === view.path ? 'page' : undefined}
            leftSection={<view.icon />}
            rightSection={<Count view={view.path} />}
            onClick={close}
            style={{ borderRadius: 'var(--mantine-radius-md)' }}
          />
        ))}
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1} className={stale ? 'stale' : undefined} style={{ outline: 'none' }}>
        <View parts={parts} />
      </AppShell.Main>
      <Help opened={help} close={() => setHelp(false)} />
    </AppShell>
  );
}

function View({ parts }: { parts: string[] }): ReactNode {
  const [view, name] = parts;
  switch (view) {
    case 'overview':
      return <Overview />;
    case 'functions':
      if (name === 'new') return <NewFunction />;
      return name ? <FunctionPage key={name} name={name} /> : <Functions />;
    case 'tasks':
      return <Tasks selected={name} />;
    case 'entities':
      return <Entities selected={name} />;
    case 'operators':
      return <Operators selected={name} />;
    case 'topologies':
      return <Topologies selected={name} />;
    case 'intents':
      return <Intents />;
    case 'devices':
      return <Devices />;
    case 'subscriptions':
      return <Subscriptions />;
    case 'system':
      return <System />;
    default:
      return (
        <Empty title="There is no such view" action={<Anchor href={href('overview')}>To the overview</Anchor>}>
          The address names “{view}”.
        </Empty>
      );
  }
}

/** A number beside a view's name, where one helps: failed tasks, services that are down. */
function Count({ view }: { view: string }) {
  const count = usePicture((picture) => {
    if (view === 'tasks') return [...picture.tasks.values()].filter((task) => task.Status === 'failed').length;
    if (view === 'system') return [...picture.services.values()].filter((service) => !service.up).length;
    return 0;
  });
  if (count === 0) return null;
  return (
    <Text size="xs" fw={700} c="var(--bad)" aria-label={`${count} need attention`}>
      {count}
    </Text>
  );
}

function Logo() {
  return (
    <Group gap={8} wrap="nowrap">
      <svg width="26" height="26" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
        <rect width="32" height="32" rx="7" fill="var(--mantine-primary-color-filled)" />
        <path d="M7 11h18M10 16h15M7 21h12" stroke="#fff" strokeWidth="3" strokeLinecap="round" />
      </svg>
      <Text fw={700} size="lg" lh={1}>
        FogFlow
      </Text>
    </Group>
  );
}

function Help({ opened, close }: { opened: boolean; close: () => void }) {
  const keys: [string, string][] = [
    ['/', 'Filter the list'],
    ['?', 'This help'],
    ['n', 'New function'],
    ...views.map((view): [string, string] => [`g ${view.key}`, `Go to ${view.title}`]),
    ['Esc, Tab', 'Leave the code editor'],
    ['Ctrl Enter', 'Run the function in the editor'],
  ];
  return (
    <Modal opened={opened} onClose={close} title="Keys" centered closeButtonProps={{ 'aria-label': 'Close' }}>
      <Stack gap="md">
        <Table aria-label="Keys" verticalSpacing={4}>
          <Table.Tbody>
            {keys.map(([key, meaning]) => (
              <Table.Tr key={key}>
                <Table.Td w={120}>
                  <Kbd>{key}</Kbd>
                </Table.Td>
                <Table.Td>{meaning}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
        <Text size="sm" c="dimmed">
          Each view, filter and selection has an address of its own: copy it to show somebody what you see.
        </Text>
      </Stack>
    </Modal>
  );
}

/** Keys that work everywhere but in fields. */
function useKeys(openHelp: () => void) {
  const awaiting = useRef(0);
  const open = useRef(openHelp);
  open.current = openHelp;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const inField = /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable;
      if (inField || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('[role="dialog"]'))
        return;
      if (Date.now() - awaiting.current < 1500) {
        awaiting.current = 0;
        const view = views.find(({ key }) => key === event.key);
        if (view) {
          event.preventDefault();
          go(href(view.path));
          return;
        }
      }
      if (event.key === '/') {
        const field = document.querySelector<HTMLInputElement>('[data-filter]');
        if (field) {
          event.preventDefault();
          field.focus();
        }
      } else if (event.key === '?') {
        event.preventDefault();
        open.current();
      } else if (event.key === 'g') {
        awaiting.current = Date.now();
      } else if (event.key === 'n') {
        event.preventDefault();
        go(href(['functions', 'new']));
      }
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, []);
}
