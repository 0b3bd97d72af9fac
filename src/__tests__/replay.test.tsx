import { act } from 'react';
import { afterEach, describe, expect, it, vi } from 'vitest';
import * as React from 'react';

import { lines } from '../replay/figures';
import { ReplayView } from '../replay/ReplayView';
import type { Replay, ReplayFigures } from '../wire';
import { Drawing } from './drawing';
import { json } from './samples';

const POLICIES = { names: ['fair_share', 'fcfs', 'fcfs+easy', 'sjf'], in_force: 'fair_share' };

function figures(policy: string, changes: Partial<ReplayFigures> = {}): ReplayFigures {
  return {
    policy,
    past: policy === 'as it was',
    uses: 12,
    wait_mean: 90,
    wait_p50: 0,
    wait_p99: 7200,
    slowdown_mean: 1.5,
    slowdown_p50: 1,
    busiest: 'cpu',
    used: 0.424,
    jain: 0.9,
    waits: [0, 60, 7200],
    times: [0, 3600, 7200],
    in_use: [0.5, 0.25],
    mine: [0.2, 0.1],
    others: [0.3, 0.1],
    ...changes
  };
}

function replay(changes: Partial<Replay> = {}): Replay {
  return {
    id: 'p-1',
    state: 'running',
    progress: 0,
    days: 7,
    policies: ['fair_share', 'fcfs+easy'],
    began: 0,
    ended: 604_800,
    uses: 0,
    in_force: [],
    notes: [],
    figures: [],
    problem: null,
    ...changes
  };
}

const DONE = replay({
  state: 'finished',
  progress: 1,
  uses: 12,
  notes: ['1 claim asked and got nothing.'],
  figures: [figures('as it was'), figures('fcfs+easy', { wait_mean: 30 })]
});

let page: Drawing;
afterEach(() => page.close());

async function open(...answers: Response[]): Promise<void> {
  page = new Drawing(json(POLICIES), ...answers);
  page.draw(<ReplayView />);
  await until(() => page.node.querySelector('form'));
}

async function until(there: () => unknown): Promise<void> {
  await vi.waitUntil(async () => {
    await page.settle(() => undefined);
    return there();
  });
}

const asked = (): string[] =>
  page.asked.map(({ method, url }) => {
    const [path, query = ''] = url.replace(/.*\/aios\/api\//, '').split('?');
    const said = query.split('&').filter(part => part.includes('=')); // the rest defeats caches
    return `${method} ${[path, ...said].join('?')}`;
  });

describe('what would have happened', () => {
  it('asks for the days and policies that are picked, and follows until there is an answer', async () => {
    await open(json(replay(), 202), json(replay({ progress: 0.5 })), json(DONE));
    expect(page.node.textContent).toContain('fair_share (in force)');
    const days = page.find<HTMLSelectElement>('[name=days]');
    act(() => {
      days.value = '30';
      days.dispatchEvent(new Event('change', { bubbles: true }));
    });
    page.click('[name=sjf]');
    page.click('[name=fair_share]');
    page.click('[type=submit]');
    await until(() => page.node.querySelector('tbody tr'));
    expect(asked()).toEqual([
      'GET policies',
      'POST replays',
      'GET replays/p-1?wait=20',
      'GET replays/p-1?wait=20'
    ]);
    expect(await page.asked[1].json()).toEqual({ days: 30, policies: ['fcfs+easy', 'sjf'] });
  });

  it('shows what happened above what would have', async () => {
    await open(json(replay(), 202), json(DONE));
    page.click('[type=submit]');
    await until(() => page.node.querySelector('tbody tr'));
    const rows = [...page.node.querySelectorAll('tbody tr')].map(row =>
      [...row.children].map(cell => cell.textContent)
    );
    expect(rows).toEqual([
      ['as it was', '1m 30s', '2h', '1.5', '42%', '15%', '20%'],
      ['fcfs+easy', '30s', '2h', '1.5', '42%', '15%', '20%']
    ]);
    expect(page.node.textContent).toContain('12 uses of slices · 1 claim asked and got nothing.');
    expect(page.find('.aios-Plot').getAttribute('aria-label')).toContain('waited no longer');
  });

  it('teaches what fills it where too little is recorded', async () => {
    const problem = { message: 'No use.', reason: 'too_little', hint: 'Later.' };
    await open(json(replay(), 202), json(replay({ state: 'failed', problem })));
    page.click('[type=submit]');
    await until(() => page.node.querySelector('.aios-Empty'));
    expect(page.node.querySelector('.aios-Problem')).toBeNull();
    expect(page.find<HTMLButtonElement>('[type=submit]').disabled).toBe(false);
  });

  it('says why the server refused or failed', async () => {
    const busy = { message: 'Busy.', reason: 'busy', hint: 'Wait.' };
    const crashed = { message: 'It crashed.', reason: 'crashed', hint: 'Less.' };
    await open(
      json(busy, 409),
      json(replay(), 202),
      json(replay({ state: 'failed', problem: crashed }))
    );
    page.click('[type=submit]');
    await until(() => page.node.querySelector('[data-reason=busy]'));
    page.click('[type=submit]');
    await until(() => page.node.querySelector('[data-reason=crashed]'));
    expect(page.node.querySelector('[data-reason=busy]')).toBeNull();
  });

  it('cancels, and ends what nobody looks at any more', async () => {
    let answer: (response: Response) => void = () => undefined;
    const waits = new Promise<Response>(resolve => (answer = resolve));
    const later = waits as unknown as Response; // the browser's fetch hands promises on
    await open(json(replay(), 202), later, json(replay({ state: 'cancelled' })));
    page.click('[type=submit]');
    await until(() => page.node.querySelector('[role=progressbar]'));
    await until(() => page.asked.length === 3);
    expect(page.find<HTMLInputElement>('fieldset').hasAttribute('disabled')).toBe(true);
    page.click('button[type=button]');
    await until(() => page.node.querySelector('[type=submit]'));
    expect(asked()[3]).toBe('DELETE replays/p-1');
    answer(json(DONE));
    await page.settle(() => undefined);
    expect(page.node.querySelector('tbody')).toBeNull();
  });

  it('needs a policy', async () => {
    await open();
    page.click('[name=fair_share]');
    page.click('[name="fcfs+easy"]');
    expect(page.find<HTMLButtonElement>('[type=submit]').disabled).toBe(true);
  });
});

describe('its plots', () => {
  const both = [figures('as it was'), figures('fcfs')];

  it('draw waits up to all uses, the past dotted', () => {
    const [was, would] = lines('waits', both, ['red', 'blue'], 'grey');
    expect([was.x, was.y]).toEqual([
      [1, 60, 7200],
      [0, 0.5, 1]
    ]);
    expect([was.line?.dash, would.line?.dash]).toEqual(['dot', 'solid']);
    expect([was.name, would.name]).toEqual(['as it was', 'fcfs']);
  });

  it('draw intervals to their end', () => {
    const [use] = lines('use', both, ['red'], 'grey');
    expect([use.x, use.y]).toEqual([
      [0, 60, 120],
      [0.5, 0.25, 0.25]
    ]);
    expect(lines('shares', both, ['red'], 'grey')[1].y).toEqual([0.2, 0.1, 0.1]);
    expect(lines('shares', [figures('fcfs', { mine: [] })], ['red'], 'grey')[0].y).toEqual([]);
  });
});
