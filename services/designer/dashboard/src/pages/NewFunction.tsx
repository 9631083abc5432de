import {
  Alert,
  Autocomplete,
  Button,
  Group,
  PasswordInput,
  SegmentedControl,
  SimpleGrid,
  Stack,
  Switch,
  Text,
  TextInput,
} from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { ApiError, adminToken } from '../api/client';
import { useEntityTypes, useRegistry } from '../api/registry';
import { go, href, useParam } from '../lib/router';
import { CodeArea } from '../ui/CodeArea';
import { PlayIcon } from '../ui/icons';
import { Page, Panel } from '../ui/Page';
import { Loading, messageOf } from '../ui/States';
import { type Draft, fresh, problemsOf, run } from './functionDraft';
import { ParameterRows } from './ParameterRows';
import { templates } from './templates';

/** Types that the node itself publishes: seldom what a function is for. */
const SYSTEM_TYPES = new Set(['IoTBroker', 'Master', 'Worker', 'Task', 'uService']);

export function NewFunction() {
  const [edited] = useParam('edit');
  const operators = useRegistry('operators');
  const functions = useRegistry('fogfunctions');
  if (!edited) return <Editor initial={fresh} />;
  if (operators.isPending || functions.isPending) return <Loading what={edited} />;
  const old = functions.data?.[edited];
  const task = old?.topology.tasks[0];
  const operator = task && operators.data?.[task.operator];
  const input = task?.input_streams[0];
  return (
    <Editor
      key={edited}
      initial={{
        name: edited,
        language: operator?.code?.language ?? 'python',
        source: operator?.code?.source ?? '',
        inputType: input?.selected_type ?? '',
        groupby: input?.groupby || 'ALL',
        outputType: task?.output_streams[0]?.entity_type ?? '',
        scoped: input?.scoped ?? false,
        parameters: operator?.parameters ?? [],
      }}
    />
  );
}

function Editor({ initial }: { initial: Draft }) {
  const [draft, setDraft] = useState(initial);
  const [shown, setShown] = useState(false);
  const [token, setToken] = useState(adminToken.get());
  const isNew = initial.name === '';
  const types = useEntityTypes();
  const functions = useRegistry('fogfunctions');
  const queries = useQueryClient();
  const problems = problemsOf(draft);
  if (isNew && functions.data?.[draft.name]) problems.name = 'There is a function of this name; open it to edit it';
  const set = <K extends keyof Draft>(key: K, value: Draft[K]) => setDraft((old) => ({ ...old, [key]: value }));
  const mutation = useMutation({
    mutationFn: () => run(draft),
    onSuccess: () => {
      queries.invalidateQueries({ queryKey: ['registry'] });
      go(href(['functions', draft.name]));
    },
  });
  const needsToken = mutation.error instanceof ApiError && mutation.error.status === 403;
  const submit = () => {
    setShown(true);
    if (Object.keys(problems).length > 0 || mutation.isPending) return;
    if (token) adminToken.set(token);
    mutation.mutate();
  };
  useLeaveGuard(JSON.stringify(draft) !== JSON.stringify(initial) && !mutation.isSuccess);
  const error = (key: keyof Draft) => (shown ? problems[key] : undefined);
  return (
    <Page
      title={isNew ? 'New function' : `Edit ${initial.name}`}
      about="A function of one entity. It is called for each new state of its input; what it publishes becomes a result."
      actions={
        <>
          <Button component="a" href={href(isNew ? 'functions' : ['functions', initial.name])} variant="default">
            Cancel
          </Button>
          <Button leftSection={<PlayIcon size={15} />} onClick={submit} loading={mutation.isPending}>
            Run
          </Button>
        </>
      }
    >
      {mutation.isError && (
        <Alert
          color="red"
          title={needsToken ? 'The designer wants the admin token' : 'The function was not registered'}
          role="alert"
        >
          <Stack gap="xs" align="flex-start">
            <Text size="sm" className="break">
              {messageOf(mutation.error)}
            </Text>
            {needsToken && (
              <Group align="flex-end">
                <PasswordInput
                  label="Admin token"
                  description="In the file admin-token of the node's data directory. It is kept for this tab only."
                  value={token}
                  onChange={(event) => setToken(event.currentTarget.value)}
                  w={380}
                />
                <Button onClick={submit}>Run with this token</Button>
              </Group>
            )}
          </Stack>
        </Alert>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) submit();
        }}
      >
        <Panel>
          <Stack p="md" gap="md">
            <SimpleGrid cols={{ base: 1, sm: 2, lg: 4 }}>
              <TextInput
                label="Name"
                placeholder="hottest"
                value={draft.name}
                disabled={!isNew}
                onChange={(event) => set('name', event.currentTarget.value)}
                error={error('name')}
                data-autofocus
              />
              <Autocomplete
                label="Input type"
                inputWrapperOrder={['label', 'input', 'description', 'error']}
                description={types.isError ? 'Discovery does not answer; type it' : undefined}
                placeholder="WeatherStation"
                data={types.data?.filter((type) => !SYSTEM_TYPES.has(type)) ?? []}
                value={draft.inputType}
                onChange={(value) => set('inputType', value)}
                error={error('inputType')}
              />
              <Autocomplete
                label="One task for"
                data={[{ group: 'Built in', items: ['EntityID', 'EntityType', 'ALL'] }]}
                value={draft.groupby}
                onChange={(value) => set('groupby', value)}
                inputWrapperOrder={['label', 'input', 'description', 'error']}
                description={groupHelp(draft.groupby)}
              />
              <TextInput
                label="Output type"
                placeholder="Hottest"
                value={draft.outputType}
                onChange={(event) => set('outputType', event.currentTarget.value)}
                error={error('outputType')}
              />
            </SimpleGrid>
            <Group justify="space-between">
              <SegmentedControl
                aria-label="Language"
                data={[
                  { value: 'python', label: 'Python' },
                  { value: 'javascript', label: 'JavaScript' },
                ]}
                value={draft.language}
                onChange={(language) => {
                  const untouched = !draft.source.trim() || Object.values(templates).includes(draft.source);
                  setDraft((old) => ({
                    ...old,
                    language,
                    source: untouched ? (templates[language] ?? '') : old.source,
                  }));
                }}
              />
              <Switch
                label="Only within the intent's area"
                checked={draft.scoped}
                onChange={(event) => set('scoped', event.currentTarget.checked)}
              />
            </Group>
            <CodeArea
              label="Function"
              description={
                draft.language === 'python'
                  ? 'Define handleEntity(entity, publish).'
                  : 'Export handler(entity, publish, query, subscribe).'
              }
              value={draft.source}
              onChange={(source) => set('source', source)}
              error={error('source')}
              indent={draft.language === 'python' ? '    ' : '  '}
            />
            <ParameterRows rows={draft.parameters} onChange={(parameters) => set('parameters', parameters)} />
          </Stack>
        </Panel>
        <button type="submit" hidden aria-hidden="true" tabIndex={-1} />
      </form>
    </Page>
  );
}

function groupHelp(groupby: string): string {
  switch (groupby.toLowerCase()) {
    case 'entityid':
      return 'Each entity';
    case 'all':
      return 'All entities together';
    case 'entitytype':
      return 'Each type';
    default:
      return `Each value of the metadata “${groupby}”`;
  }
}

/** The browser asks before the page is left with work in it. */
function useLeaveGuard(dirty: boolean): void {
  const now = useRef(dirty);
  now.current = dirty;
  useEffect(() => {
    const guard = (event: BeforeUnloadEvent) => {
      if (now.current) event.preventDefault();
    };
    window.addEventListener('beforeunload', guard);
    return () => window.removeEventListener('beforeunload', guard);
  }, []);
}
