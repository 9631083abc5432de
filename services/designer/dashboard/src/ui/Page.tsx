import { Box, Group, Stack, Text, TextInput, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import { useParam } from '../lib/router';
import { SearchIcon } from './icons';

interface Props {
  title: string;
  /** One sentence about what is here. */
  about?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}

export function Page({ title, about, actions, children }: Props) {
  return (
    <Stack gap="md">
      <Group justify="space-between" align="flex-end" wrap="wrap">
        <Box>
          <Title order={1}>{title}</Title>
          {about && (
            <Text size="sm" c="dimmed" mt={2}>
              {about}
            </Text>
          )}
        </Box>
        {actions && <Group gap="sm">{actions}</Group>}
      </Group>
      {children}
    </Stack>
  );
}

export function Panel({ title, actions, children }: { title?: string; actions?: ReactNode; children: ReactNode }) {
  return (
    <section className="panel" aria-label={title}>
      {(title || actions) && (
        <Group justify="space-between" px="md" py="xs" style={{ borderBottom: '1px solid var(--line)' }}>
          {title && <Title order={2}>{title}</Title>}
          {actions}
        </Group>
      )}
      {children}
    </section>
  );
}

/** The filter of a page, kept in the address; `/` puts the cursor here. */
export function Filter({ label }: { label: string }) {
  const [filter, setFilter] = useParam('filter');
  return (
    <TextInput
      data-filter
      type="search"
      aria-label={label}
      placeholder="Filter  ( / )"
      leftSection={<SearchIcon size={15} />}
      value={filter}
      onChange={(event) => setFilter(event.currentTarget.value)}
      w={230}
      size="sm"
    />
  );
}
