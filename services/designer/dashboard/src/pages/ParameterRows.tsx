import { ActionIcon, Button, Group, Stack, Text, TextInput } from '@mantine/core';
import type { Parameter } from '../api/registry';
import { PlusIcon, TrashIcon } from '../ui/icons';

interface Props {
  rows: Parameter[];
  onChange: (rows: Parameter[]) => void;
}

/** Names and values, as many as one likes. */
export function ParameterRows({ rows, onChange }: Props) {
  const change = (index: number, row: Parameter) => onChange(rows.map((old, place) => (place === index ? row : old)));
  return (
    <Stack gap="xs" align="flex-start">
      <Text size="sm" fw={500}>
        Parameters
      </Text>
      {rows.map((row, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a row is known by its place; its name changes while it is typed.
        <Group key={index} gap="xs">
          <TextInput
            aria-label={`Name of parameter ${index + 1}`}
            placeholder="threshold"
            value={row.name}
            onChange={(event) => change(index, { ...row, name: event.currentTarget.value })}
          />
          <TextInput
            aria-label={`Value of parameter ${index + 1}`}
            placeholder="3"
            value={row.value}
            onChange={(event) => change(index, { ...row, value: event.currentTarget.value })}
          />
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label={`Remove parameter ${index + 1}`}
            onClick={() => onChange(rows.filter((_, place) => place !== index))}
          >
            <TrashIcon />
          </ActionIcon>
        </Group>
      ))}
      <Button
        variant="default"
        size="xs"
        leftSection={<PlusIcon size={14} />}
        onClick={() => onChange([...rows, { name: '', value: '' }])}
      >
        Add a parameter
      </Button>
    </Stack>
  );
}
