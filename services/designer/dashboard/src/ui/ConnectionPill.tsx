import { Badge } from '@mantine/core';
import { useEffect, useState } from 'react';
import { useLink } from '../live/store';

/** After this time without connection the picture counts as stale. */
const STALE_MS = 10_000;

export function useIsStale(): boolean {
  const link = useLink();
  const [stale, setStale] = useState(false);
  useEffect(() => {
    if (link.state !== 'broken') {
      setStale(false);
      return;
    }
    const timer = setTimeout(() => setStale(true), Math.max(0, link.since + STALE_MS - Date.now()));
    return () => clearTimeout(timer);
  }, [link]);
  return stale;
}

/** Whether what the page shows is what is. */
export function ConnectionPill() {
  const link = useLink();
  const stale = useIsStale();
  const [color, text] =
    link.state === 'live'
      ? (['green', 'Live'] as const)
      : link.state === 'connecting'
        ? (['gray', 'Connecting…'] as const)
        : stale
          ? (['red', `Stale since ${new Date(link.since).toLocaleTimeString([], { hour12: false })}`] as const)
          : (['orange', 'Reconnecting…'] as const);
  return (
    <Badge color={color} variant="light" size="lg" tt="none" fw={600} role="status" aria-label={`Connection: ${text}`}>
      {text}
    </Badge>
  );
}
