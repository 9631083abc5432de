import { ActionIcon, CopyButton as Copy } from '@mantine/core';
import { CheckIcon, CopyIcon } from './icons';

/** Copies a text. */
export function CopyButton({ text }: { text: string }) {
  return (
    <Copy value={text}>
      {({ copied, copy }) => (
        <ActionIcon
          variant="subtle"
          color="gray"
          size="sm"
          aria-label={copied ? 'Copied' : `Copy ${text}`}
          onClick={copy}
        >
          {copied ? <CheckIcon size={14} /> : <CopyIcon size={14} />}
        </ActionIcon>
      )}
    </Copy>
  );
}
