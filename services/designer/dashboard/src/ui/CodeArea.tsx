import { Textarea } from '@mantine/core';
import type { KeyboardEvent } from 'react';

interface Props {
  label: string;
  description?: string;
  value: string;
  onChange: (value: string) => void;
  error?: string;
  rows?: number;
  indent?: string;
}

/** A text area for code: Tab indents (after Escape it moves on), Enter keeps the indentation. */
export function CodeArea({ label, description, value, onChange, error, rows = 18, indent = '    ' }: Props) {
  const insert = (area: HTMLTextAreaElement, text: string) => {
    const { selectionStart: start, selectionEnd: end } = area;
    onChange(value.slice(0, start) + text + value.slice(end));
    requestAnimationFrame(() => area.setSelectionRange(start + text.length, start + text.length));
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    const area = event.currentTarget;
    if (event.key === 'Escape') {
      area.dataset.leaving = 'true';
    } else if (event.key === 'Tab' && !event.shiftKey && area.dataset.leaving !== 'true') {
      event.preventDefault();
      insert(area, indent);
    } else if (event.key === 'Enter' && !event.ctrlKey && !event.metaKey) {
      const line = value.slice(0, area.selectionStart).split('\n').at(-1) ?? '';
      const lead = /^\s*/.exec(line)?.[0] ?? '';
      if (lead || /[:{]\s*$/.test(line)) {
        event.preventDefault();
        insert(area, `\n${lead}${/[:{]\s*$/.test(line) ? indent : ''}`);
      }
    } else if (event.key !== 'Tab') {
      delete area.dataset.leaving;
    }
  };
  return (
    <Textarea
      className="code-area"
      label={label}
      description={description}
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
      onKeyDown={onKeyDown}
      error={error}
      rows={rows}
      resize="vertical"
      spellCheck={false}
      autoCapitalize="off"
      autoCorrect="off"
    />
  );
}
