// JSON schema on standard input, TypeScript on standard output. Called by wire_types.py.
import { readFileSync } from 'node:fs';
import { compile } from 'json-schema-to-typescript';
import * as prettier from 'prettier';

const ROOT = 'WireTypes';
const EMPTY_ROOT = /export interface WireTypes \{\s*\}\n/;

const { $defs } = JSON.parse(readFileSync(0, 'utf8'));
const schema = { title: ROOT, type: 'object', additionalProperties: false, $defs };
const banner = '// Made from aios_lab/wire by `make types`. Change that file, not this one.\n';
const text = await compile(schema, ROOT, {
  bannerComment: '',
  format: false,
  unreachableDefinitions: true
});
if (!EMPTY_ROOT.test(text)) {
  throw new Error('the generator no longer writes the empty root type that is dropped here');
}
// The generator explains of each type that the root refers to it; nobody needs to know.
const own = text
  .replace(EMPTY_ROOT, '')
  .split('\n')
  .filter(
    line =>
      !line.startsWith(' * This interface was referenced by `WireTypes`') &&
      !line.startsWith(' * via the `definition`')
  );
const options = await prettier.resolveConfig('src/wire.ts');
const out = (banner + own.join('\n'))
  .replace(/\/\*\*\n \*\/\n/g, '')
  .replace(/(\s*\*\s*\n)+ \*\/\n/g, '\n */\n');
process.stdout.write(await prettier.format(out, { ...options, parser: 'typescript' }));
