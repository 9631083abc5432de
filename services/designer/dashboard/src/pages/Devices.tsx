import {
  Anchor,
  Autocomplete,
  Button,
  Group,
  JsonInput,
  NumberInput,
  Select,
  SimpleGrid,
  Text,
  TextInput,
} from '@mantine/core';
import { useState } from 'react';
import { send } from '../api/client';
import { type Device, useEntityTypes, useRegistry } from '../api/registry';
import { formatValue, matches } from '../lib/format';
import { href, useParam } from '../lib/router';
import type { TypedValue } from '../live/types';
import { ConfirmButton, useChange } from '../ui/actions';
import { type Column, DataTable } from '../ui/DataTable';
import { FormModal } from '../ui/FormModal';
import { PlusIcon, TrashIcon } from '../ui/icons';
import { Filter, Page, Panel } from '../ui/Page';
import { Empty, Failure, Loading } from '../ui/States';

const listed = (items: Record<string, TypedValue>) => (
  <Text span size="sm" className="break" lineClamp={3}>
    {Object.entries(items)
      .map(([name, item]) => `${name} ${formatValue(item.value)}`)
      .join('  ·  ') || '–'}
  </Text>
);

export function Devices() {
  const devices = useRegistry('devices');
  const [filter, setFilter] = useParam('filter');
  const [open, setOpen] = useState(false);
  const remove = useChange((id: string) => send('DELETE', `device/${encodeURIComponent(id)}`), 'Deleted the device');
  if (devices.isPending) return <Loading what="devices" />;
  if (devices.isError) return <Failure error={devices.error} retry={devices.refetch} />;
  const rows = Object.values(devices.data).filter((row) => !filter || matches(filter, row.id, row.type));
  const columns: Column<Device>[] = [
    {
      key: 'id',
      title: 'Device',
      render: (row) => (
        <Anchor href={href(['entities', row.id])} size="sm" className="mono break">
          {row.id}
        </Anchor>
      ),
      sort: (row) => row.id,
    },
    { key: 'type', title: 'Type', render: (row) => row.type, sort: (row) => row.type },
    { key: 'attributes', title: 'Attributes', render: (row) => listed(row.attributes) },
    { key: 'metadata', title: 'Metadata', render: (row) => listed(row.metadata) },
    { key: 'pending', title: 'At the broker', render: (row) => (row.pending ? 'not yet' : 'yes') },
    {
      key: 'remove',
      title: '',
      render: (row) => (
        <ConfirmButton
          label={`Delete ${row.id}`}
          icon={<TrashIcon />}
          question={`Delete ${row.id}?`}
          confirm="Delete"
          onConfirm={() => remove.mutate(row.id)}
          compact
        >
          Its entity is deleted at the broker, too.
        </ConfirmButton>
      ),
    },
  ];
  const add = (
    <Button leftSection={<PlusIcon size={16} />} onClick={() => setOpen(true)}>
      New device
    </Button>
  );
  return (
    <Page
      title="Devices"
      about="Entities registered by hand. The designer keeps them at the cloud broker."
      actions={
        <>
          <Filter label="Filter devices" />
          {add}
        </>
      }
    >
      <NewDevice opened={open} close={() => setOpen(false)} />
      <Panel>
        <DataTable
          label="Devices"
          rows={rows}
          columns={columns}
          rowKey={(row) => row.id}
          filter={filter}
          clearFilter={() => setFilter('')}
          empty={
            <Empty title="No devices yet" action={add}>
              Register one to have data without hardware. Real devices write to the broker by themselves.
            </Empty>
          }
        />
      </Panel>
    </Page>
  );
}

const PROTOCOLS = ['NGSI-v1', 'NGSI-LD', 'MQTT'];

function NewDevice({ opened, close }: { opened: boolean; close: () => void }) {
  const types = useEntityTypes();
  const [type, setType] = useState('Temperature');
  const [id, setId] = useState('');
  const [protocol, setProtocol] = useState('NGSI-v1');
  const [mqttBroker, setMqttBroker] = useState('');
  const [topic, setTopic] = useState('');
  const [latitude, setLatitude] = useState<string | number>('');
  const [longitude, setLongitude] = useState<string | number>('');
  const [attributes, setAttributes] = useState('{\n  "temp": {"type": "float", "value": 21.5}\n}');
  const parsed = parse(attributes);
  const problem = !type
    ? 'Give a type'
    : !id
      ? 'Give an id'
      : latitude === '' || longitude === ''
        ? 'Give the location'
        : !parsed
          ? 'The attributes are not JSON'
          : undefined;
  const body = {
    id,
    type,
    attributes: {
      ...parsed,
      protocol: { type: 'string', value: protocol },
      ...(protocol === 'MQTT' && {
        mqttbroker: { type: 'string', value: mqttBroker },
        topic: { type: 'string', value: topic },
      }),
    },
    metadata: { location: { type: 'point', value: { latitude: Number(latitude), longitude: Number(longitude) } } },
  };
  return (
    <FormModal
      title="New device"
      submit="Register"
      opened={opened}
      close={close}
      problem={problem}
      onSubmit={() => send('POST', 'device', body)}
      onDone={() => setId('')}
    >
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        <Autocomplete
          label="Type"
          data={[...new Set(['Temperature', 'PowerPanel', 'Camera', 'Alarm', 'HOPU', ...(types.data ?? [])])]}
          value={type}
          onChange={setType}
        />
        <Group align="flex-end" gap="xs" wrap="nowrap">
          <TextInput
            label="Device id"
            placeholder="Device.Temperature.001"
            value={id}
            onChange={(event) => setId(event.currentTarget.value)}
            style={{ flex: 1 }}
          />
          <Button
            variant="default"
            onClick={() =>
              setId(`Device.${type || 'Thing'}.${crypto.getRandomValues(new Uint32Array(1))[0]?.toString(36)}`)
            }
          >
            Make one
          </Button>
        </Group>
        <Select
          label="Protocol"
          data={PROTOCOLS}
          value={protocol}
          onChange={(value) => setProtocol(value ?? 'NGSI-v1')}
          allowDeselect={false}
        />
        {protocol === 'MQTT' ? (
          <TextInput
            label="MQTT broker"
            placeholder="mqtt://host:1883"
            value={mqttBroker}
            onChange={(event) => setMqttBroker(event.currentTarget.value)}
          />
        ) : (
          <span />
        )}
        {protocol === 'MQTT' && (
          <TextInput label="Topic" value={topic} onChange={(event) => setTopic(event.currentTarget.value)} />
        )}
        <NumberInput label="Latitude" min={-90} max={90} decimalScale={6} value={latitude} onChange={setLatitude} />
        <NumberInput
          label="Longitude"
          min={-180}
          max={180}
          decimalScale={6}
          value={longitude}
          onChange={setLongitude}
        />
      </SimpleGrid>
      <JsonInput
        label="Attributes"
        description='Name to {"type", "value"}'
        value={attributes}
        onChange={setAttributes}
        autosize
        minRows={4}
        error={parsed ? undefined : 'Not a JSON object'}
      />
    </FormModal>
  );
}

function parse(text: string): Record<string, TypedValue> | undefined {
  try {
    const value = JSON.parse(text || '{}');
    return value && typeof value === 'object' && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
