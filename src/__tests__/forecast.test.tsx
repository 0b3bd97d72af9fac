import { nullTranslator } from '@jupyterlab/translation';
import { act } from 'react';
import { afterEach, describe, expect, it } from 'vitest';
import * as React from 'react';

import { CommandIDs } from '../commands';
import { CurrentKernel } from '../current';
import { clock } from '../format';
import { whenText } from '../slices/Forecast';
import { SlicesSection } from '../slices/SlicesSection';
import { WhatIfForm } from '../slices/WhatIf';
import type { Forecast, WhatIf } from '../wire';
import { Drawing } from './drawing';
import { json, slice } from './samples';

const NONE = new CurrentKernel(null);
const NOON = new Date(2026, 10, 21, 12, 0).getTime() / 1000;
const MINUTE = 60;
const trans = nullTranslator.load('');

function forecast(changes: Partial<Forecast> = {}): Forecast {
  return {
    slice_id: 's-1',
    made: NOON,
    state: 'expected',
    workers: 2,
    early: NOON + 10 * MINUTE,
    start: NOON + 20 * MINUTE,
    late: NOON + 40 * MINUTE,
    replays: 100,
    basis: '100 replays of the policy, with how long 12 past claims held units.',
    reason: 'Waiting for 2 workers: bob holds 3 of 4 GPUs; 1 worker would start now.',
    grows: false,
    long_run: null,
    ...changes
  };
}

function whatIf(changes: Partial<WhatIf> = {}): WhatIf {
  return {
    slice_id: 's-1',
    unit: { cpus: 1, memory: 2e9, gpus: 1, gpu_memory: 0 },
    min_workers: 1,
    max_workers: 1,
    at_once: 1,
    soon: 1,
    gives: [],
    before: forecast(),
    after: forecast({ state: 'now', early: NOON, start: NOON, late: NOON }),
    ...changes
  };
}

let page: Drawing;
afterEach(() => page?.close());

/** As a browser does it: the value first, then the event. */
function type(name: string, text: string): void {
  const input = page.find<HTMLInputElement>(`[name=${name}]`);
  const { set } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')!;
  act(() => {
    set!.call(input, text);
    input.dispatchEvent(new Event('input', { bubbles: true }));
  });
}

describe('a waiting slice', () => {
  const waiting = slice({ state: 'requested', workers: 0, target: 0, reason: 'bob holds 3 GPUs.' });
  const show = async (answer: Response): Promise<void> => {
    page = new Drawing(answer);
    page.happen(() => void page.model.watch(['slices']));
    page.draw(<SlicesSection current={NONE} />);
    await page.settle(() => page.receive('slices', [waiting]));
  };

  it('says when it starts, and draws how sure that is', async () => {
    await show(json(forecast()));
    expect(page.asked[0].url).toContain('/aios/api/slices/s-1/forecast');
    expect(page.find('.aios-Forecast').getAttribute('aria-live')).toBe('polite');
    expect(page.find('.aios-Forecast-when').textContent).toBe('starts about 12:20 (12:10–12:40)');
    expect(page.find('.aios-Range[role=img]').getAttribute('aria-label')).toContain(
      'From now to 12:40'
    );
    expect(page.find('.aios-Range-span').style.left).toBe('25%');
    expect(page.find('.aios-Range-span').style.width).toBe('75%');
    expect(page.find('.aios-Range-middle').style.left).toBe('50%');
  });

  it('says why there is no forecast yet, and draws none', async () => {
    const basis = 'no history: nothing tells how long 1 other claim will hold units.';
    await show(json(forecast({ state: 'unknown', early: null, start: null, late: null, basis })));
    expect(page.find('.aios-Forecast').textContent).toBe(`No forecast yet, ${basis}`);
    expect(page.node.querySelector('.aios-Range')).toBeNull();
  });

  it('says what the server refuses', async () => {
    await show(json({ message: 'The ledger is full.', reason: 'x', hint: 'y' }, 409));
    expect(page.find('.aios-Forecast').textContent).toBe('The ledger is full.');
  });
});

it('a slice that waits for nothing asks for no forecast', async () => {
  page = new Drawing();
  page.happen(() => void page.model.watch(['slices']));
  page.draw(<SlicesSection current={NONE} />);
  const others = slice({ id: 's-2', mine: false, target: 0, reason: 'full' });
  await page.settle(() => page.receive('slices', [slice(), others]));
  expect(page.asked).toEqual([]);
  expect(page.node.querySelector('.aios-Forecast')).toBeNull();
  expect(page.find('[data-slice-id="s-2"]').querySelector('.aios-Fold')).toBeNull();
});

describe('whenText', () => {
  it.each<[Partial<Forecast>, string]>([
    [{ state: 'now' }, 'starts now'],
    [{ state: 'never', start: null }, 'no wait can fulfil it'],
    [{ start: null, early: null, late: null }, 'starts in more than a month, if nothing changes'],
    [{ grows: true }, 'gets more about 12:20 (12:10–12:40)'],
    [{ late: null }, 'starts about 12:20 (12:10–more than a month)'],
    [{ early: NOON + 20 * MINUTE, late: NOON + 20 * MINUTE }, 'starts about 12:20']
  ])('%j', (changes, text) => expect(whenText(forecast(changes), trans)).toBe(text));
});

it('a moment of another day has its day', () => {
  expect(clock(NOON + 90, NOON)).toBe('12:01');
  expect(clock(NOON + 86_400, NOON)).toMatch(/22.* 12:00$/);
});

describe('What if…', () => {
  const ask = async (answer: Response): Promise<void> => {
    page = new Drawing(answer);
    page.draw(<WhatIfForm slice={slice({ max_workers: 4 })} />);
    type('workers', '1');
    type('gpus', '1');
    await page.settle(() => page.find<HTMLButtonElement>('.aios-WhatIf-ask').click());
  };
  const answer = () => page.find('.aios-WhatIf-answer');

  it('asks for nothing but an answer, which can then be requested', async () => {
    await ask(json(whatIf()));
    expect(page.asked[0].url).toContain('/aios/api/slices/s-1/what-if');
    expect(page.asked[0].method).toBe('POST');
    expect(await page.asked[0].json()).toEqual({ workers: 1, gpus: 1 });
    expect(page.asked).toHaveLength(1);
    expect(answer().getAttribute('aria-live')).toBe('polite');
    expect(answer().textContent).toContain('1 would start now.');
    expect(answer().textContent).toContain('As it is: starts about 12:20 (12:10–12:40)');
    const requested = page.record(CommandIDs.resize);
    page.click('.aios-WhatIf-request');
    expect(requested).toEqual([{ slice: 's-1', workers: 1, gpus: 1 }]);
  });

  it('says who would give back, and when the rest would start', async () => {
    const gives = [{ slice_id: 's-2', user: 'bob', name: 'b.ipynb', workers: 2 }];
    await ask(json(whatIf({ gives, soon: 2 })));
    expect(answer().textContent).toContain("2 would start now: bob's b.ipynb gives back 2.");
    page.close();
    await ask(json(whatIf({ soon: 0, after: forecast(), before: null })));
    expect(answer().textContent).toContain('Nothing more would start now.');
    expect(answer().textContent).toContain('bob holds 3 of 4 GPUs');
    expect(answer().textContent).toContain('starts about 12:20');
    expect(answer().textContent).not.toContain('As it is');
  });

  it('says what can never be', async () => {
    await ask(json({ message: 'Too large.', reason: 'too_large', hint: 'Ask for 2.' }, 422));
    expect(page.find('.aios-Problem').textContent).toBe('Too large.Ask for 2.');
    expect(page.node.querySelector('.aios-WhatIf-request')).toBeNull();
  });
});
