import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

// Where `npm run dev` sends what the server answers.
const server = process.env.SLUICEGATE_URL ?? 'http://127.0.0.1:8181';

export default defineConfig({
  plugins: [react()],
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
