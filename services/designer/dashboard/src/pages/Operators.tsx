import { Button, Checkbox, Code, Group, Select, SimpleGrid, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { useState } from 'react';
import { send } from '../api/client';
import { type DockerImage, type Operator, type Parameter, useRegistry } from '../api/registry';
import { matches, plural } from '../lib/format';
import { go, href, useParam } from '../lib/router';
import { ConfirmButton, useChange } from '../ui/actions';
import { type Column, DataTable } from '../ui/DataTable';
import { FormModal } from '../ui/FormModal';
import { PlusIcon, TrashIcon } from '../ui/icons';
import { Filter, Page, Panel } from '../ui/Page';
import { Empty, Failure, Loading } from '../ui/States';
import { ParameterRows } from './ParameterRows';

/** What an operator is made of, in a word. */
function kindOf(operator: Operator): string {
  const kinds = [];
  if (operator.code) kinds.push(`${operator.code.language} code`);
  if (operator.executables?.length) kinds.push(plural(operator.executables.length, 'executable'));
  if (operator.dockerimages.length) kinds.push(plural(operator.dockerimages.length, 'image'));
  return kinds.join(', ') || 'nothing to run';
}

const columns: Column<Operator>[] = [
  { key: 'name', title: 'Operator', render: (row) => row.name, sort: (row) => row.name },
  { key: 'description', title: 'Description', render: (row) => row.description },
  { key: 'kind', title: 'Made of', render: kindOf, sort: kindOf },
  {
    key: 'parameters',
    title: 'Parameters',
    render: (row) => row.parameters.length,
    sort: (row) => row.parameters.length,
    number: true,
  },
];

export function Operators({ selected }: { selected?: string }) {
  const operators = useRegistry('operators');
  const [filter, setFilter] = useParam('filter');
  const [open, setOpen] = useState(false);
  if (operators.isPending) return <Loading what="operators" />;
  if (operators.isError) return <Failure error={operators.error} retry={operators.refetch} />;
  const rows = Object.values(operators.data).filter(
    (row) => !filter || matches(filter, row.name, row.description, kindOf(row)),
  );
  const add = (
    <Button leftSection={<PlusIcon size={16} />} onClick={() => setOpen(true)}>
      New operator
    </Button>
  );
  return (
    <Page
      title="Operators"
      about="What tasks run: container images, commands, or code."
      actions={
        <>
          <Filter label="Filter operators" />
          {add}
        </>
      }
    >
      <NewOperator opened={open} close={() => setOpen(false)} />
      {selected && <Detail key={selected} name={selected} operator={operators.data[selected]} />}
      <Panel>
        <DataTable
          label="Operators"
          rows={rows}
          columns={columns}
          rowKey={(row) => row.name}
          rowHref={(row) => href(['operators', row.name], { filter })}
          selected={selected}
          filter={filter}
          clearFilter={() => setFilter('')}
          empty={
            <Empty title="No operators yet" action={add}>
              An operator is registered with an image here, or with its code by writing a function.
            </Empty>
          }
        />
      </Panel>
    </Page>
  );
}

function Detail({ name, operator }: { name: string; operator: Operator | undefined }) {
  const [open, setOpen] = useState(false);
  const remove = useChange(
    () => send('DELETE', `operator/${encodeURIComponent(name)}`),
    `Deleted ${name}`,
    () => go(href('operators')),
  );
  const removeImage = useChange(
    (image: DockerImage) =>
      send(
        'DELETE',
        `dockerimage/${encodeURIComponent(name)}?${new URLSearchParams({ image: image.name, tag: image.tag })}`,
      ),
    'Removed the image',
  );
  const close = (
    <Button component="a" href={href('operators')} variant="default" size="xs">
      Close
    </Button>
  );
  if (!operator) {
    return (
      <Panel title={name} actions={close}>
        <Empty title="There is no such operator">It may have been deleted.</Empty>
      </Panel>
    );
  }
  const images: Column<DockerImage>[] = [
    { key: 'image', title: 'Image', render: (row) => <span className="mono break">{row.name}</span> },
    { key: 'tag', title: 'Tag', render: (row) => <span className="mono">{row.tag}</span> },
    { key: 'hardware', title: 'Hardware', render: (row) => row.hwType || 'any' },
    { key: 'os', title: 'System', render: (row) => row.osType || 'any' },
    { key: 'prefetched', title: 'Prefetched', render: (row) => (row.prefetched ? 'yes' : 'no') },
    {
      key: 'remove',
      title: '',
      render: (row) => (
        <ConfirmButton
          label={`Remove ${row.name}:${row.tag}`}
          icon={<TrashIcon />}
          question="Remove this image?"
          confirm="Remove"
          onConfirm={() => removeImage.mutate(row)}
          compact
        >
          Tasks that run it go on; new ones need another image.
        </ConfirmButton>
      ),
    },
  ];
  return (
    <Panel
      title={operator.name}
      actions={
        <Group gap="xs">
          <Button size="xs" variant="default" onClick={() => setOpen(true)}>
            Add an image
          </Button>
          <ConfirmButton
            label={`Delete ${name}`}
            icon={<TrashIcon />}
            question={`Delete ${name}?`}
            confirm="Delete"
            onConfirm={() => remove.mutate(undefined)}
            loading={remove.isPending}
            compact
          >
            It can be deleted when no topology uses it.
          </ConfirmButton>
          {close}
        </Group>
      }
    >
      <NewImage operator={name} opened={open} close={() => setOpen(false)} />
      <Stack gap="sm" p="md">
        {operator.description && <Text size="sm">{operator.description}</Text>}
        {operator.parameters.length > 0 && (
          <Text size="sm" component="div">
            Parameters
            {operator.parameters.map((parameter) => (
              <div key={parameter.name} className="mono break">
                {parameter.name} = {parameter.value}
              </div>
            ))}
          </Text>
        )}
        {operator.executables?.map((executable) => (
          <div key={executable.command.join(' ')} className="mono break">
            {executable.command.join(' ')}
            {executable.cwd && ` (in ${executable.cwd})`}
          </div>
        ))}
        {operator.code && (
          <Code block bg="transparent" style={{ maxHeight: 360, overflow: 'auto' }}>
            {operator.code.source}
          </Code>
        )}
      </Stack>
      {operator.dockerimages.length > 0 && (
        <DataTable
          label={`Images of ${name}`}
          rows={operator.dockerimages}
          columns={images}
          rowKey={(row) => `${row.name}:${row.tag}:${row.hwType}:${row.osType}`}
          empty={null}
        />
      )}
    </Panel>
  );
}

const NO_IMAGE = { name: '', tag: 'latest', hwType: 'X86', osType: 'Linux', prefetched: false };

function ImageFields({ image, onChange }: { image: typeof NO_IMAGE; onChange: (image: typeof NO_IMAGE) => void }) {
  return (
    <>
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        <TextInput
          label="Image"
          placeholder="fogflow/counter"
          value={image.name}
          onChange={(event) => onChange({ ...image, name: event.currentTarget.value })}
        />
        <TextInput
          label="Tag"
          value={image.tag}
          onChange={(event) => onChange({ ...image, tag: event.currentTarget.value })}
        />
        <Select
          label="Hardware"
          data={['X86', 'ARM', 'ARM64', 'any']}
          value={image.hwType}
          onChange={(hwType) => onChange({ ...image, hwType: hwType ?? 'X86' })}
        />
        <Select
          label="System"
          data={['Linux', 'Windows', 'any']}
          value={image.osType}
          onChange={(osType) => onChange({ ...image, osType: osType ?? 'Linux' })}
        />
      </SimpleGrid>
      <Checkbox
        label="Workers pull it before a task needs it"
        checked={image.prefetched}
        onChange={(event) => onChange({ ...image, prefetched: event.currentTarget.checked })}
      />
    </>
  );
}

function NewImage({ operator, opened, close }: { operator: string; opened: boolean; close: () => void }) {
  const [image, setImage] = useState(NO_IMAGE);
  return (
    <FormModal
      title={`Add an image to ${operator}`}
      submit="Add"
      opened={opened}
      close={close}
      problem={image.name ? undefined : 'Give the name of the image'}
      onSubmit={() => send('POST', `dockerimage/${encodeURIComponent(operator)}`, image)}
      onDone={() => setImage(NO_IMAGE)}
    >
      <ImageFields image={image} onChange={setImage} />
    </FormModal>
  );
}

function NewOperator({ opened, close }: { opened: boolean; close: () => void }) {
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const [parameters, setParameters] = useState<Parameter[]>([]);
  const [image, setImage] = useState(NO_IMAGE);
  const body = {
    name,
    description,
    parameters: parameters.filter((parameter) => parameter.name),
    dockerimages: image.name ? [image] : [],
  };
  return (
    <FormModal
      title="New operator"
      submit="Register"
      opened={opened}
      close={close}
      problem={name ? undefined : 'Give a name'}
      onSubmit={() => send('POST', 'operator', [body])}
      onDone={() => {
        setName('');
        setDescription('');
        setParameters([]);
        setImage(NO_IMAGE);
        go(href(['operators', name]));
      }}
    >
      <TextInput
        label="Name"
        placeholder="counter"
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        data-autofocus
      />
      <Textarea
        label="Description"
        value={description}
        onChange={(event) => setDescription(event.currentTarget.value)}
        autosize
      />
      <ImageFields image={image} onChange={setImage} />
      <ParameterRows rows={parameters} onChange={setParameters} />
    </FormModal>
  );
}
