import { Alert, Button, Group, Modal, Stack } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { messageOf } from './States';

interface Props {
  title: string;
  submit: string;
  opened: boolean;
  close: () => void;
  /** What keeps the form from being sent, in words. */
  problem?: string;
  onSubmit: () => Promise<unknown>;
  onDone?: () => void;
  children: ReactNode;
  size?: string;
}

/** A form in a dialog: it says why it cannot be sent, and stays open with the reason when sending fails. */
export function FormModal({ title, submit, opened, close, problem, onSubmit, onDone, children, size = 'lg' }: Props) {
  const mutation = useMutation({
    mutationFn: onSubmit,
    onSuccess: () => {
      close();
      onDone?.();
    },
  });
  const leave = () => {
    mutation.reset();
    close();
  };
  return (
    <Modal opened={opened} onClose={leave} title={title} size={size} closeButtonProps={{ 'aria-label': 'Close' }}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!problem && !mutation.isPending) mutation.mutate();
        }}
      >
        <Stack>
          {children}
          {mutation.isError && (
            <Alert color="red" role="alert" className="break">
              {messageOf(mutation.error)}
            </Alert>
          )}
          <Group justify="flex-end">
            {problem && (
              <span style={{ fontSize: '0.85rem', color: 'var(--mantine-color-dimmed)' }} id="why-not">
                {problem}
              </span>
            )}
            <Button variant="default" onClick={leave}>
              Cancel
            </Button>
            <Button
              type="submit"
              disabled={!!problem}
              aria-describedby={problem ? 'why-not' : undefined}
              loading={mutation.isPending}
            >
              {submit}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
