import { describe, expect, it } from 'vitest';
import { problemsOf } from '../pages/functionDraft';
import { parseVertices } from '../pages/scope';
import { columnsOf } from '../ui/graphLayout';
import { formatValue, matches, plural } from './format';
import { href, parseHash } from './router';

describe('addresses', () => {
  it('come back as they went in, whatever an id holds', () => {
    const id = 'urn:ngsi-ld:A/b?c=d#e&f ä';
    const { parts, params } = parseHash(href(['entities', id], { filter: 'a&b=c', type: '' }));
    expect(parts).toEqual(['entities', id]);
    expect(params.get('filter')).toBe('a&b=c');
    expect(params.has('type')).toBe(false);
  });

  it('lead to the overview when they are empty, and survive broken escapes', () => {
    expect(parseHash('').parts).toEqual(['overview']);
    expect(parseHash('#/tasks/%E0%A4%A').parts).toEqual(['tasks', '%E0%A4%A']);
  });
});

describe('formats', () => {
  it('shorten numbers and leave the rest', () => {
    expect(formatValue(12.3456789)).toBe('12.3457');
    expect(formatValue(1234567890)).toBe('1234567890');
    expect(formatValue('<b>')).toBe('<b>');
    expect(formatValue({ a: [1] })).toBe('{"a":[1]}');
    expect(formatValue(undefined)).toBe('');
    expect(plural(1, 'task')).toBe('1 task');
  });

  it('match all words in any text', () => {
    expect(matches('sea weather', 'WeatherStation', 'Seattle')).toBe(true);
    expect(matches('sea sun', 'WeatherStation', 'Seattle')).toBe(false);
  });
});

describe('forms', () => {
  const draft = {
    name: 'hot',
    language: 'python',
    source: 'x',
    inputType: 'A',
    groupby: 'ALL',
    outputType: 'B',
    scoped: false,
    parameters: [],
  };

  it('accept a complete function', () => {
    expect(problemsOf(draft)).toEqual({});
  });

  it('name what is missing or would never end', () => {
    expect(Object.keys(problemsOf({ ...draft, name: 'a b', inputType: '', outputType: '', source: ' ' }))).toEqual([
      'name',
      'source',
      'inputType',
      'outputType',
    ]);
    expect(problemsOf({ ...draft, outputType: 'A' }).outputType).toMatch(/without end/);
  });

  it('read the corners of an area', () => {
    expect(parseVertices('47.6, -122.3\n47.7 -122.2\n\n47.8;-122.1')).toHaveLength(3);
    expect(parseVertices('47.6, -122.3\n47.7, -122.2')).toBeUndefined();
    expect(parseVertices('147.6, -122.3\n47.7, -122.2\n1,1')).toBeUndefined();
  });
});

it('tasks stand after those that they consume from, also in a broken topology', () => {
  const task = (input: string, output: string) => ({
    name: input,
    operator: 'o',
    input_streams: [{ selected_type: input, selected_attributes: [], groupby: 'ALL', scoped: false }],
    output_streams: [{ entity_type: output }],
  });
  expect(columnsOf([task('C', 'D'), task('A', 'B'), task('B', 'C')])).toEqual([2, 0, 1]);
  expect(columnsOf([task('A', 'B'), task('B', 'A')])).toHaveLength(2);
});
