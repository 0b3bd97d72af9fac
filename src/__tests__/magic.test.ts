import { describe, expect, it } from 'vitest';

import { DEFAULTS, edit, mentions, otherMagic, readLine, trainLine } from '../train/magic';
import type { ITrainForm } from '../train/magic';

const CELL = 'def train(ctx, epochs=3):\n    pass';

/** The cell after the dialog was accepted with these choices. */
function written(source: string, form: Partial<ITrainForm>): string {
  const { start, end, text } = edit(source, { ...readLine(source), ...form });
  return source.slice(0, start) + text + source.slice(end);
}

describe('the line of the Train dialog', () => {
  it.each<[Partial<ITrainForm>, string]>([
    [{}, '%%aios train'],
    [{ workers: '2' }, '%%aios train --workers 2'],
    [{ strategy: 'fsdp', precision: 'bf16' }, '%%aios train --strategy fsdp --precision bf16'],
    [{ epochs: '5', detach: true }, '%%aios train --set epochs=5 --detach']
  ])('of %o is %s', (form, line) => {
    expect(trainLine(CELL, { ...DEFAULTS, ...form })).toBe(line);
  });

  it('stands at the head of the cell, which stays as it was', () => {
    expect(written(CELL, { workers: '2' })).toBe(`%%aios train --workers 2\n${CELL}`);
  });

  it('is written once, however often the dialog is accepted', () => {
    const once = written(CELL, { workers: '2', epochs: '5', detach: true });
    expect(written(once, {})).toBe(once);
    expect(readLine(once)).toEqual({ ...DEFAULTS, workers: '2', epochs: '5', detach: true });
  });

  it.each([
    [
      '%%aios train --workers 2 --name "my run" --set lr=0.1 --set epochs=3',
      { workers: '4', epochs: '9' },
      '%%aios train --workers 4 --name "my run" --set lr=0.1 --set epochs=9'
    ],
    ['%%aios train --workers=2 step', { workers: '3' }, '%%aios train --workers 3 step'],
    ['%%aios train --detach --set=epochs=3', { epochs: '', detach: false }, '%%aios train'],
    ['%%aios  train --strategy fsdp', { strategy: 'ddp' }, '%%aios train'],
    ['%%aios train --script', { workers: '2' }, '%%aios train --script --workers 2']
  ])('changes %s where it is told to and nowhere else', (line, form, changed) => {
    expect(written(`${line}\n${CELL}`, form)).toBe(`${changed}\n${CELL}`);
  });

  it('takes a cell without a function as a script', () => {
    expect(written('print(1)', {})).toBe('%%aios train --script\nprint(1)');
    expect(written('', {})).toBe('%%aios train --script\n');
  });

  it('finds the line behind empty ones', () => {
    expect(written(`\n\n%%aios train\n${CELL}`, { workers: '2' })).toBe(
      `\n\n%%aios train --workers 2\n${CELL}`
    );
  });

  it('knows when another magic has the cell', () => {
    expect(otherMagic(`%%time\n${CELL}`)).toBe('%%time');
    expect(otherMagic(`%%aios train\n${CELL}`)).toBe('');
    expect(otherMagic(CELL)).toBe('');
  });

  it('knows whether the function takes epochs; its own line does not count', () => {
    expect(mentions(CELL, 'epochs')).toBe(true);
    expect(mentions('%%aios train --set epochs=3\ndef train(ctx): pass', 'epochs')).toBe(false);
  });
});
