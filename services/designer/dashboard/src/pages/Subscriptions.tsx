import { Autocomplete, Button, Select, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { send } from '../api/client';
import { type Subscription, useEntityTypes, useRegistry } from '../api/registry';
import { matches } from '../lib/format';
import { useParam } from '../lib/router';
import { ConfirmButton, CopyId, useChange } from '../ui/actions';
import { type Column, DataTable } from '../ui/DataTable';
import { FormModal } from '../ui/FormModal';
import { PlusIcon, TrashIcon } from '../ui/icons';
import { Filter, Page, Panel } from '../ui/Page';
import { Empty, Failure, Loading } from '../ui/States';

type Row = Subscription & { id: string };

export function Subscriptions() {
  const subscriptions = useRegistry('subscriptions');
  const [filter, setFilter] = useParam('filter');
  const [open, setOpen] = useState(false);
  const remove = useChange(
    (id: string) => send('DELETE', `subscription/${encodeURIComponent(id)}`),
    'Ended the subscription',
  );
  if (subscriptions.isPending) return <Loading what="subscriptions" />;
  if (subscriptions.isError) return <Failure error={subscriptions.error} retry={subscriptions.refetch} />;
  const all = Object.entries(subscriptions.data).map(([id, row]): Row => ({ ...row, id }));
  const rows = all.filter((row) => !filter || matches(filter, row.id, row.entity_type, row.reference_url));
  const columns: Column<Row>[] = [
    { key: 'id', title: 'Subscription', render: (row) => <CopyId id={row.id} />, sort: (row) => row.id },
    { key: 'type', title: 'Entity type', render: (row) => row.entity_type, sort: (row) => row.entity_type },
    {
      key: 'destination',
      title: 'Destination',
      render: (row) => row.destination_broker || 'NGSIv1',
      sort: (row) => row.destination_broker,
    },
    {
      key: 'url',
      title: 'Sent to',
      render: (row) => <span className="mono break">{row.reference_url}</span>,
      sort: (row) => row.reference_url,
    },
    { key: 'tenant', title: 'Tenant', render: (row) => row.tenant || '–' },
    {
      key: 'made',
      title: 'At the broker',
      render: (row) =>
        row.brokerSubscriptionId ? (
          <Text span size="sm" className="mono break">
            {row.brokerSubscriptionId}
          </Text>
        ) : (
          'not yet'
        ),
    },
    {
      key: 'remove',
      title: '',
      render: (row) => (
        <ConfirmButton
          label={`End ${row.id}`}
          icon={<TrashIcon />}
          question="End this subscription?"
          confirm="End it"
          onConfirm={() => remove.mutate(row.id)}
          compact
        >
          {row.reference_url} will get no more entities of type {row.entity_type}.
        </ConfirmButton>
      ),
    },
  ];
  const add = (
    <Button leftSection={<PlusIcon size={16} />} onClick={() => setOpen(true)}>
      New subscription
    </Button>
  );
  return (
    <Page
      title="Subscriptions"
      about="Entities that the cloud broker passes on to other brokers."
      actions={
        <>
          <Filter label="Filter subscriptions" />
          {add}
        </>
      }
    >
      <NewSubscription opened={open} close={() => setOpen(false)} />
      <Panel>
        <DataTable
          label="Subscriptions"
          rows={rows}
          columns={columns}
          rowKey={(row) => row.id}
          filter={filter}
          clearFilter={() => setFilter('')}
          empty={
            <Empty title="No subscriptions yet" action={add}>
              Pass results on to Orion, Scorpio or another FogFlow.
            </Empty>
          }
        />
      </Panel>
    </Page>
  );
}

function NewSubscription({ opened, close }: { opened: boolean; close: () => void }) {
  const types = useEntityTypes();
  const [entity_type, setType] = useState('');
  const [destination_broker, setDestination] = useState('NGSI-LD');
  const [reference_url, setUrl] = useState('');
  const [tenant, setTenant] = useState('');
  const problem = !entity_type
    ? 'Give the type of the entities'
    : !/^https?:\/\/[^/]/.test(reference_url)
      ? 'Give a URL with http:// or https://'
      : undefined;
  return (
    <FormModal
      title="New subscription"
      submit="Subscribe"
      opened={opened}
      close={close}
      problem={problem}
      onSubmit={() => send('POST', 'subscription', { entity_type, destination_broker, reference_url, tenant })}
      onDone={() => setUrl('')}
    >
      <Autocomplete label="Entity type" data={types.data ?? []} value={entity_type} onChange={setType} data-autofocus />
      <Select
        label="Destination"
        data={['NGSIv1', 'NGSIv2', 'NGSI-LD']}
        value={destination_broker}
        onChange={(value) => setDestination(value ?? 'NGSI-LD')}
        allowDeselect={false}
      />
      <TextInput
        label="Sent to"
        placeholder="http://orion:1026/v2"
        value={reference_url}
        onChange={(event) => setUrl(event.currentTarget.value)}
      />
      {destination_broker === 'NGSI-LD' && (
        <TextInput
          label="Tenant"
          description="Empty for the default one"
          value={tenant}
          onChange={(event) => setTenant(event.currentTarget.value)}
        />
      )}
    </FormModal>
  );
}
