import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// `npm run dev` serves the page and passes everything else to a running designer.
const designer = process.env.DESIGNER_URL ?? 'http://127.0.0.1:8080';
const passedOn = [
  'events',
  'operator',
  'dockerimage',
  'service',
  'topology',
  'intent',
  'fogfunction',
  'device',
  'subscription',
  'info',
  'tasks',
  'ngsi10',
  'ngsi-ld',
  'v2',
  'ngsi9',
  'export',
  'import',
  'photo',
];

export default defineConfig({
  base: './',
  plugins: [react()],
  server: {
    proxy: Object.fromEntries(passedOn.map((path) => [`^/${path}(/.*)?(\\?.*)?$`, { target: designer }])),
  },
  build: {
    // Everything in files of their own: the page's policy allows no inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
    chunkSizeWarningLimit: 900,
  },
});
