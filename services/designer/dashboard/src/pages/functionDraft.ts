import { send } from '../api/client';
import type { Parameter } from '../api/registry';
import { templates } from './templates';

/** A function as it is being written. */
export interface Draft {
  name: string;
  language: string;
  source: string;
  inputType: string;
  groupby: string;
  outputType: string;
  scoped: boolean;
  parameters: Parameter[];
}

export const fresh: Draft = {
  name: '',
  language: 'python',
  source: templates.python ?? '',
  inputType: '',
  groupby: 'EntityID',
  outputType: '',
  scoped: false,
  parameters: [],
};

/** What has to be mended before the function can run, by field. */
export function problemsOf(draft: Draft): Partial<Record<keyof Draft, string>> {
  const problems: Partial<Record<keyof Draft, string>> = {};
  if (!/^[\p{L}\p{N}._:-]+$/u.test(draft.name)) problems.name = 'Letters, digits, dots, dashes and underscores';
  if (!draft.source.trim()) problems.source = 'The function is empty';
  if (!draft.inputType) problems.inputType = 'Which entities shall it be called with?';
  else if (/[\s<>"'=;()]/.test(draft.inputType)) problems.inputType = 'Not a type that NGSI allows';
  if (!draft.outputType) problems.outputType = 'The type of its results';
  else if (/[\s<>"'=;()]/.test(draft.outputType)) problems.outputType = 'Not a type that NGSI allows';
  else if (draft.outputType === draft.inputType)
    problems.outputType = 'It would be called with its own results, without end';
  return problems;
}

/** Registers operator and fog function of a draft. */
export async function run(draft: Draft): Promise<void> {
  const { name } = draft;
  await send('POST', 'operator', [
    {
      name,
      description: 'Written in the dashboard',
      parameters: draft.parameters.filter((parameter) => parameter.name),
      code: { language: draft.language, source: draft.source },
    },
  ]);
  await send('POST', 'fogfunction', [
    {
      name,
      topology: {
        name,
        description: '',
        tasks: [
          {
            name: 'main',
            operator: name,
            input_streams: [
              { selected_type: draft.inputType, selected_attributes: [], groupby: draft.groupby, scoped: draft.scoped },
            ],
            output_streams: [{ entity_type: draft.outputType }],
          },
        ],
      },
      intent: { topology: name, qos: 'NONE', priority: { exclusive: false, level: 0 } },
    },
  ]);
}
