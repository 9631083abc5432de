import { Box, Group, Stack, Text, TextInput, Title } from '@mantine/core';
import type { ReactNode } from 'react';
import { useParam } from '../lib/router';
import { CopyButton } from './CopyButton';
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
        <Box style={{ flex: '1 1 20rem' }}>
          <Title order={1} className="break">
            {title}
          </Title>
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

interface PanelProps {
  title?: string;
  /** The title is an id that one wants to copy. */
  copy?: boolean;
  actions?: ReactNode;
  children: ReactNode;
}

export function Panel({ title, copy, actions, children }: PanelProps) {
  return (
    <section className="panel" aria-label={title}>
      {(title || actions) && (
        <Group justify="space-between" px="md" py="xs" style={{ borderBottom: '1px solid var(--line)' }}>
          {title && (
            <Group gap={4} wrap="nowrap">
              <Title order={2} className="break">
                {title}
              </Title>
              {copy && <CopyButton text={title} />}
            </Group>
          )}
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
