import { readFileSync } from 'node:fs';

import react from '@vitejs/plugin-react';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

// Where `npm run dev` sends what the server answers.
const server = process.env.SLUICEGATE_URL ?? 'http://127.0.0.1:8181';

/** Loads a plain script before everything else; browsers keep it until its content changes. */
function firstScript(path: string): Plugin {
  const name = path.replace(/^.*\//, '');
  return {
    name: 'first-script',
    buildStart() {
      if (this.environment.mode !== 'build') return;
      this.emitFile({ type: 'asset', name, source: readFileSync(`.${path}`) });
    },
    transformIndexHtml: {
      order: 'post',
      handler(_html, { bundle }) {
        const made = Object.values(bundle ?? {}).find(
          (file) => file.type === 'asset' && file.names.includes(name),
        );
        const src = made ? `/${made.fileName}` : path;
        return [{ tag: 'script', attrs: { src }, injectTo: 'head-prepend' }];
      },
    },
  };
}

export default defineConfig({
  plugins: [react(), firstScript('/src/theme/color-scheme.js')],
  build: {
    target: 'es2022',
    // The polyfill would be an inline script, which the content security policy refuses.
    modulePreload: { polyfill: false },
    // A data: font or script would be refused as well; small images may stay inline.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: { '/api': server } },
  test: { include: ['src/**/*.test.ts'] },
});
