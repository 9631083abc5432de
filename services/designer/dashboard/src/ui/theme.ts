import { type CSSVariablesResolver, createTheme, type MantineColorsTuple } from '@mantine/core';

/** A blue-green as of water in the air. */
const fog: MantineColorsTuple = [
  '#e6f7fa',
  '#d3edf2',
  '#a7dbe5',
  '#78c8d7',
  '#52b8cb',
  '#39aec4',
  '#28a9c0',
  '#1694a9',
  '#00697a',
  '#005b6b',
];

/** Greys of the dark scheme, in the tone of the accent. */
const slate: MantineColorsTuple = [
  '#d3dade',
  '#b9c3c9',
  '#98a4ad',
  '#6b7881',
  '#3a454c',
  '#2e373d',
  '#232b30',
  '#1b2125',
  '#161b1e',
  '#101416',
];

export const theme = createTheme({
  primaryColor: 'fog',
  primaryShade: { light: 8, dark: 8 },
  colors: { fog, dark: slate },
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif',
  fontFamilyMonospace:
    'ui-monospace, "Cascadia Mono", "JetBrains Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
  defaultRadius: 'md',
  headings: {
    fontWeight: '650',
    sizes: { h1: { fontSize: '1.35rem' }, h2: { fontSize: '1.05rem' }, h3: { fontSize: '0.95rem' } },
  },
});

export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--page': '#f4f6f7',
    '--panel': '#ffffff',
    '--line': '#dfe4e7',
    '--ok': '#2b7a3d',
    '--warn': '#9a5b00',
    '--bad': '#b3261e',
    '--idle': '#5c6770',
    '--mantine-color-dimmed': '#56616a',
  },
  dark: {
    '--page': '#14181b',
    '--panel': '#1b2125',
    '--line': '#2e373d',
    '--ok': '#69c37c',
    '--warn': '#f0b354',
    '--bad': '#ff8a80',
    '--idle': '#98a4ad',
    '--mantine-color-dimmed': '#98a4ad',
    '--mantine-color-body': '#1b2125',
  },
});
