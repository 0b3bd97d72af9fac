/** The line at the head of a cell that trains it: read, and changed without touching what else stands there. */

/** What the dialog asks; an empty text leaves the choice to training. */
export interface ITrainForm {
  strategy: string;
  workers: string;
  precision: string;
  epochs: string;
  detach: boolean;
}

/** The strategies, and the numbers that ranks may compute in. */
export const STRATEGIES = ['ddp', 'fsdp'] as const;
export const PRECISIONS = ['bf16', 'fp16'] as const;

export const DEFAULTS: ITrainForm = {
  strategy: STRATEGIES[0],
  workers: '',
  precision: '',
  epochs: '',
  detach: false
};

const HEAD = '%%aios train';
/** Words as a shell takes them apart; quotations stay as they are. */
const WORDS = /(?:[^\s"']|"(?:[^"\\]|\\.)*"|'[^']*'|["'])+/g;

/** The first line of a cell that is not empty: where it begins, and its text. */
function firstLine(source: string): { start: number; text: string } {
  const start = source.length - source.trimStart().length;
  const lineStart = source.lastIndexOf('\n', start - 1) + 1;
  const end = source.indexOf('\n', start);
  return { start: lineStart, text: source.slice(lineStart, end < 0 ? undefined : end) };
}

function isTrainLine(text: string): boolean {
  return /^%%aios\s+train(\s|$)/.test(text);
}

/** Another magic that takes the whole cell, which then cannot also be trained; empty where there is none. */
export function otherMagic(source: string): string {
  const { text } = firstLine(source);
  return text.startsWith('%%') && !isTrainLine(text) ? text.split(/\s/)[0] : '';
}

/** The value of an option, and at which words it stands. */
function find(
  words: readonly string[],
  option: string
): { at: number; length: number; value: string } | null {
  for (let at = 0; at < words.length; at += 1) {
    if (words[at] === option) {
      return { at, length: 2, value: words[at + 1] ?? '' };
    }
    if (words[at].startsWith(`${option}=`)) {
      return { at, length: 1, value: words[at].slice(option.length + 1) };
    }
  }
  return null;
}

/** The setting `name=…` among those of `--set`, and at which words it stands. */
function findSetting(
  words: readonly string[],
  name: string
): { at: number; length: number; value: string } | null {
  for (let at = 0; at < words.length; at += 1) {
    const inner = words[at] === '--set' ? words[at + 1] : words[at].replace(/^--set=/, '');
    const isSetting = words[at].startsWith('--set');
    if (isSetting && inner?.startsWith(`${name}=`)) {
      return { at, length: words[at] === '--set' ? 2 : 1, value: inner.slice(name.length + 1) };
    }
  }
  return null;
}

/** What the dialog shows at first: what the cell's line says, else the defaults. */
export function readLine(source: string): ITrainForm {
  const { text } = firstLine(source);
  if (!isTrainLine(text)) {
    return DEFAULTS;
  }
  const words: string[] = text.match(WORDS) ?? [];
  return {
    strategy: find(words, '--strategy')?.value ?? DEFAULTS.strategy,
    workers: find(words, '--workers')?.value ?? '',
    precision: find(words, '--precision')?.value ?? '',
    epochs: findSetting(words, 'epochs')?.value ?? '',
    detach: words.includes('--detach')
  };
}

/** The words with an option in the place where it stood, else at the end; without it where it has no value. */
function put(
  words: readonly string[],
  found: { at: number; length: number } | null,
  written: readonly string[]
): string[] {
  if (!found) {
    return [...words, ...written];
  }
  return [...words.slice(0, found.at), ...written, ...words.slice(found.at + found.length)];
}

/** The line that says what the form says, and all that the cell's line said beside it. */
export function trainLine(source: string, form: ITrainForm): string {
  const { text } = firstLine(source);
  const known = isTrainLine(text);
  let words: string[] = known ? (text.match(WORDS) ?? []).slice(2) : [];
  const option = (name: string, value: string): void => {
    words = put(words, find(words, name), value ? [name, value] : []);
  };
  option('--strategy', form.strategy === DEFAULTS.strategy ? '' : form.strategy);
  option('--workers', form.workers.trim());
  option('--precision', form.precision);
  const epochs = form.epochs.trim();
  words = put(words, findSetting(words, 'epochs'), epochs ? ['--set', `epochs=${epochs}`] : []);
  words = words.filter(word => word !== '--detach').concat(form.detach ? ['--detach'] : []);
  if (!known && !/^\s*(async\s+)?def\s/m.test(source)) {
    words.push('--script'); // nothing to call: the cell itself is what is trained
  }
  return [HEAD, ...words].join(' ');
}

/** Which part of a cell to replace by which text, so that the line stands at its head. */
export function edit(
  source: string,
  form: ITrainForm
): { start: number; end: number; text: string } {
  const line = trainLine(source, form);
  const { start, text } = firstLine(source);
  return isTrainLine(text)
    ? { start, end: start + text.length, text: line }
    : { start: 0, end: 0, text: `${line}\n` };
}

/** Whether the cell speaks of a name at all, as that of an option of its function. */
export function mentions(source: string, name: string): boolean {
  const { start, text } = firstLine(source);
  const code = isTrainLine(text) ? source.slice(start + text.length) : source;
  return new RegExp(`\\b${name}\\b`).test(code);
}
