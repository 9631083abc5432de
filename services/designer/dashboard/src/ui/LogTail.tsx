import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef } from 'react';
import { getText } from '../api/client';
import { messageOf } from './States';

/** The last lines of a task's log, fetched every two seconds; it stays at the end unless the reader scrolled up. */
export function LogTail({ task }: { task: string }) {
  const box = useRef<HTMLElement>(null);
  const atEnd = useRef(true);
  const log = useQuery({
    queryKey: ['log', task],
    queryFn: () => getText(`tasks/${encodeURIComponent(task)}/logs?tail=200`),
    refetchInterval: 2000,
    retry: false,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the box has to follow each new text.
  useEffect(() => {
    if (atEnd.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [log.data]);
  if (log.isError && log.data === undefined) {
    return (
      <Text size="sm" c="dimmed" p="md" role="status">
        No log: {messageOf(log.error)}
      </Text>
    );
  }
  return (
    <section
      ref={box}
      className="log"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a long log has to be scrolled by keyboard.
      tabIndex={0}
      aria-label={`Log of ${task}`}
      onScroll={(event) => {
        const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
        atEnd.current = scrollHeight - scrollTop - clientHeight < 24;
      }}
    >
      {log.data === undefined ? 'Loading the log…' : log.data || 'The task has written nothing yet.'}
    </section>
  );
}
