import type { ReactNode } from 'react';

export type Tone = 'ok' | 'busy' | 'warn' | 'bad' | 'idle';

const marks: Record<Tone, ReactNode> = {
  ok: <circle cx="5" cy="5" r="4" fill="currentColor" />,
  busy: <path d="M5 1a4 4 0 1 1-4 4" fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" />,
  warn: <path d="M5 0.8 9.6 9H0.4z" fill="currentColor" />,
  bad: <path d="M1.5 1.5l7 7M8.5 1.5l-7 7" stroke="currentColor" strokeWidth="2.2" strokeLinecap="round" />,
  idle: <circle cx="5" cy="5" r="3.5" fill="none" stroke="currentColor" strokeWidth="1.6" />,
};

const tones: Record<string, Tone> = {
  running: 'ok',
  active: 'ok',
  enabled: 'ok',
  up: 'ok',
  scheduled: 'busy',
  pending: 'busy',
  pulling: 'busy',
  starting: 'busy',
  'not ready': 'warn',
  paused: 'warn',
  failed: 'bad',
  down: 'bad',
  removed: 'idle',
  disabled: 'idle',
};

/** A status word with a mark of its own shape. */
export function Status({ word, tone }: { word: string; tone?: Tone }) {
  const shown = tone ?? tones[word] ?? 'idle';
  return (
    <span className="status" data-tone={shown}>
      <svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true" focusable="false">
        {marks[shown]}
      </svg>
      {word}
    </span>
  );
}
