import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [
    {
      // JupyterLab's icons import their SVG as text, which its bundler does and Vite does not.
      name: 'svg-as-text',
      enforce: 'pre',
      load(id) {
        return id.endsWith('.svg')
          ? `export default ${JSON.stringify(readFileSync(id, 'utf8'))}`
          : null;
      }
    }
  ],
  test: {
    environment: 'jsdom',
    include: ['src/**/*.test.{ts,tsx}'],
    css: false,
    setupFiles: ['./vitest.setup.mts'],
    testTimeout: 20_000,
    // These packages are ES modules without saying so: Node would read them as CommonJS.
    server: { deps: { inline: [/@jupyter\//, /@jupyterlab\//, /@lumino\//, /@rjsf\//] } }
  }
});
