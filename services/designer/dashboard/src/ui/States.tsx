import { Alert, Button, Center, Loader, Stack, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { ApiError } from '../api/client';

/** Nothing is there: what it means, and the one thing to do next. */
export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <Center p="xl">
      <Stack align="center" gap={6} maw={460}>
        <Text fw={600}>{title}</Text>
        {children && (
          <Text size="sm" c="dimmed" ta="center">
            {children}
          </Text>
        )}
        {action}
      </Stack>
    </Center>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <Center p="xl">
      <Stack align="center" gap="xs">
        <Loader size="sm" aria-hidden="true" />
        <Text size="sm" c="dimmed" role="status">
          Loading {what}…
        </Text>
      </Stack>
    </Center>
  );
}

export function Failure({ error, retry }: { error: unknown; retry: () => void }) {
  return (
    <Alert color="red" title="That did not work" m="md" role="alert">
      <Stack gap="xs" align="flex-start">
        <Text size="sm" className="break">
          {messageOf(error)}
        </Text>
        <Button size="xs" variant="light" color="red" onClick={retry}>
          Try again
        </Button>
      </Stack>
    </Alert>
  );
}

export function messageOf(error: unknown): string {
  if (error instanceof ApiError || error instanceof Error) return error.message;
  return String(error);
}
