import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';

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

/** Puts a compressed file beside each script and style, so that the designer need not compress. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    closeBundle() {
      const folder = join(import.meta.dirname, 'dist/assets');
      for (const file of readdirSync(folder).filter((name) => /\.(js|css)$/.test(name))) {
        const path = join(folder, file);
        writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
      }
    },
  };
}

export default defineConfig({
  base: './',
  plugins: [react(), compressed()],
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
