import { ActionIcon, Button, Group, Modal, Stack, Text, Tooltip } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';
import { CopyButton } from './CopyButton';
import { messageOf } from './States';

/** Runs a change and says how it went. */
export function useChange<T>(
  change: (input: T) => Promise<unknown>,
  done: string | ((input: T) => string),
  after?: (input: T) => void,
) {
  return useMutation({
    mutationFn: change,
    onSuccess: (_result, input) => {
      notifications.show({ color: 'green', message: typeof done === 'string' ? done : done(input) });
      after?.(input);
    },
    onError: (error) =>
      notifications.show({ color: 'red', title: 'That did not work', message: messageOf(error), autoClose: 10_000 }),
  });
}

interface ConfirmProps {
  label: string;
  icon?: ReactNode;
  question: string;
  /** What will happen. */
  children?: ReactNode;
  confirm: string;
  onConfirm: () => void;
  loading?: boolean;
  compact?: boolean;
}

/** A button for what cannot be undone: it asks first. */
export function ConfirmButton({ label, icon, question, children, confirm, onConfirm, loading, compact }: ConfirmProps) {
  const [open, setOpen] = useState(false);
  return (
    <>
      {compact ? (
        <Tooltip label={label}>
          <ActionIcon variant="subtle" color="gray" aria-label={label} onClick={() => setOpen(true)} loading={loading}>
            {icon}
          </ActionIcon>
        </Tooltip>
      ) : (
        <Button variant="default" size="sm" leftSection={icon} onClick={() => setOpen(true)} loading={loading}>
          {label}
        </Button>
      )}
      <Modal
        opened={open}
        onClose={() => setOpen(false)}
        title={question}
        centered
        closeButtonProps={{ 'aria-label': 'Close' }}
      >
        <Stack>
          {children && <Text size="sm">{children}</Text>}
          <Group justify="flex-end">
            <Button variant="default" onClick={() => setOpen(false)}>
              Cancel
            </Button>
            <Button
              color="red"
              onClick={() => {
                setOpen(false);
                onConfirm();
              }}
            >
              {confirm}
            </Button>
          </Group>
        </Stack>
      </Modal>
    </>
  );
}

/** An id that can be copied. */
export function CopyId({ id }: { id: string }) {
  return (
    <Group gap={2} wrap="nowrap" align="flex-start">
      <span className="mono break">{id}</span>
      <CopyButton text={id} />
    </Group>
  );
}
