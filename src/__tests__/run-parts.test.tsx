import { act } from 'react';
import { afterEach, describe, expect, it, vi } from 'vitest';
import * as React from 'react';

import { CommandIDs } from '../commands';
import { CompareView } from '../compare/CompareView';
import { RunOutput, RUN_MIME } from '../renderer/RunOutput';
import { RunView } from '../runs/RunView';
import { RunsSection } from '../runs/RunsSection';
import { stateCounts } from '../runs/Ranks';
import type { Rank, Run } from '../wire';
import { Drawing } from './drawing';
import { points, resize, run } from './samples';

let page: Drawing;
afterEach(() => page.close());

function draw(changes: Partial<Run>, ...answers: Response[]): Drawing {
  page = new Drawing(...answers);
  page.draw(<RunView run={run(changes)} plot={false} reachable={true} />);
  return page;
}

/** Open the part with this title. */
async function open(title: string): Promise<HTMLDetailsElement> {
  const fold = [...page.node.querySelectorAll('details')].find(one =>
    one.querySelector('summary')?.textContent?.startsWith(title)
  );
  if (!fold) {
    throw new Error(`There is no ${title} in ${page.node.textContent}`);
  }
  await page.settle(() => {
    fold.open = true;
    fold.dispatchEvent(new Event('toggle'));
  });
  return fold;
}

/** As a browser does it: the value first, then the event. */
async function choose(select: HTMLSelectElement, value: string): Promise<void> {
  const { set } = Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, 'value')!;
  await page.settle(() => {
    set!.call(select, value);
    select.dispatchEvent(new Event('change', { bubbles: true }));
  });
}

const rank = (number: number, changes: Partial<Rank> = {}): Rank => ({
  rank: number,
  host: '10.0.0.1',
  worker: 'tls://10.0.0.1:4000',
  state: 'running',
  pid: 4000 + number,
  ...changes
});

describe('what a run says of itself', () => {
  it('is what it does now, what resizes cost it, and where it began', () => {
    const { node } = draw({
      state: 'resizing',
      note: 'Waiting for 1 worker.',
      resizes: [resize(), resize({ before: 1, after: 2 })],
      lost: { steps: 3, seconds: 1.234 },
      resumed: { run_id: 'r-0', step: 40 },
      detached: true,
      joules: 1234567
    });
    expect(page.find('.aios-Chip').textContent).toBe('resizing');
    expect(page.find('.aios-Run-note').textContent).toBe('Waiting for 1 worker.');
    expect(node.textContent).toContain('detached · from step 40 of r-0');
    expect(node.textContent).toContain('2 resizes · 3 steps redone · paused 1.23s · 1.23 MJ');
  });

  it('is nothing of what there is not', () => {
    const { node } = draw({});
    expect(node.textContent).not.toMatch(/redone|paused|detached|J$/);
    const titles = [...node.querySelectorAll('summary')].map(one => one.textContent);
    expect(titles).toEqual(['Started with']);
  });

  it('tells each resize in words', async () => {
    draw({ resizes: [resize(), resize({ step: 30, before: 2, after: 2, why: 'A rank died.' })] });
    const items = (await open('Resizes (2)')).querySelectorAll('li');
    expect(items[0].textContent).toContain('2 ranks, begun anew');
    expect(items[0].textContent).toContain('A rank died.');
    expect(items[1].textContent).toMatch(/2 → 1 ranks step 20 · .* · paused 0.42s/);
  });

  it('shows the state of each rank and what it uses', async () => {
    const usage = { time: 1, gpu: null, gpu_memory: null, joules: null };
    draw({
      ranks: [rank(0), rank(1, { state: 'lost', pid: null })],
      usage: [{ rank: 0, cpu: 98.4, memory: 512e6, ...usage }]
    });
    const rows = (await open('Ranks: 1 running, 1 lost')).querySelectorAll('tbody tr');
    const cells = [...rows].map(row => [...row.children].map(cell => cell.textContent));
    expect(cells).toEqual([
      ['0', 'running', '98%', '512 MB', '10.0.0.1'],
      ['1', 'lost', '–', '–', '10.0.0.1']
    ]);
  });

  it('counts ranks by state', () => {
    page = new Drawing();
    expect(stateCounts([rank(0), rank(1), rank(2, { state: 'ok' })])).toBe('2 running, 1 ok');
  });

  it('resumes from a checkpoint', async () => {
    draw({
      checkpoints: [
        { step: 20, time: 1, bytes: 1e6 },
        { step: 40, time: 2, bytes: 2e6 }
      ]
    });
    const calls = page.record(CommandIDs.resumeRun);
    const fold = await open('Checkpoints (2)');
    expect(fold.querySelector('li')?.textContent).toContain('step 40');
    const button = fold.querySelector('button')!;
    expect(button.getAttribute('aria-label')).toBe('Resume digits (r-1) from step 40');
    act(() => button.click());
    expect(calls).toEqual([{ run: 'r-1', step: 40 }]);
  });

  it('says what it was started with', async () => {
    draw({ parameters: { lr: 0.1, name: 'x' }, options: { precision: 'bf16', none: null } });
    const terms = [...(await open('Started with')).querySelectorAll('dt, dd')];
    expect(terms.map(one => one.textContent)).toEqual(
      'strategy ddp ranks 2 precision bf16 lr 0.1 name x'.split(' ')
    );
  });
});

describe('the log', () => {
  const log_tail = ['[rank 0] one', '[rank 1] two', 'step 3: loss is nan', '[rank 1] three'];

  it('is of all ranks or of one', async () => {
    draw({ log_tail });
    const fold = await open('Log');
    expect(page.find('.aios-Run-log').textContent).toBe(log_tail.join('\n'));
    await choose(fold.querySelector('select')!, '1');
    expect(page.find('.aios-Run-log').textContent).toBe('two\nthree');
    expect(page.asked).toHaveLength(0);
  });

  it('reads older lines of a rank from its file', async () => {
    const answer = { rank: 1, lines: ['zero', 'two', 'three'], abridged: false };
    draw({ log_tail }, Response.json(answer));
    const fold = await open('Log');
    await choose(fold.querySelector('select')!, '1');
    await page.settle(() => fold.querySelector('button')?.click());
    expect(page.asked[0].url).toMatch(/runs\/r-1\/log\?rank=1(&|$)/);
    expect(page.find('.aios-Run-log').textContent).toBe('zero\ntwo\nthree');
  });

  it('has nothing to choose where there is one rank', async () => {
    draw({ log_tail: ['[rank 0] one'], world_size: 1 });
    expect((await open('Log')).querySelector('select')).toBeNull();
  });
});

describe('Compare runs', () => {
  it('can be asked for once there are two', () => {
    page = new Drawing();
    page.draw(<RunsSection />);
    page.happen(() => void page.model.watch(['runs']));
    page.receive('runs', [run()]);
    expect(page.node.querySelector('.aios-Runs-compare')).toBeNull();
    const calls = page.record(CommandIDs.compareRuns);
    page.receive('runs', [run(), run({ id: 'r-2' })]);
    page.click('.aios-Runs-compare');
    expect(calls).toHaveLength(1);
  });

  it('shows figures and setups side by side, of those that are chosen', async () => {
    const series = { loss: points([1, 2]) };
    const ended = run({ id: 'r-2', state: 'finished', name: 'again', parameters: { lr: 0.2 } });
    page = new Drawing(Response.json({ ...ended, series, step: 77 }));
    page.draw(<CompareView chosen={['r-1', 'r-2']} />);
    await page.settle(() =>
      page.receive('runs', [
        run({ series, parameters: { lr: 0.1 } }),
        { ...ended, abridged: true },
        run({ id: 'r-3', mine: false })
      ])
    );
    expect(page.node.querySelectorAll('.aios-Compare-picker label')).toHaveLength(2);
    const rows = (): Record<string, (string | null)[]> =>
      Object.fromEntries(
        [...page.node.querySelectorAll('tbody tr')].map(row => {
          const [name, ...values] = [...row.children].map(cell => cell.textContent);
          return [name, values];
        })
      );
    expect(rows()['lr, which differs']).toEqual(['0.1', '0.2']);
    expect(rows()['steps']).toEqual(['30', '77']);
    expect(page.find('.aios-Plot').getAttribute('aria-label')).toContain('loss of 2 runs');
    act(() => page.find<HTMLInputElement>('input[name=r-1]').click());
    expect(rows()['steps']).toEqual(['77']);
  });
});

describe('an output that was saved before runs told so much', () => {
  it('is drawn all the same', async () => {
    page = new Drawing();
    const old = JSON.parse(JSON.stringify(run({ state: 'finished' })));
    for (const field of ['resizes', 'ranks', 'checkpoints', 'lost', 'usage', 'joules', 'data']) {
      delete old[field];
    }
    const widget = new RunOutput(page.services);
    void widget.renderModel({ data: { [RUN_MIME]: old } } as never);
    const drawn = (widget as unknown as { render: () => React.ReactElement }).render();
    page.draw(drawn);
    await vi.waitUntil(() =>
      page.settle(() => undefined).then(() => page.node.querySelector('.aios-Run'))
    );
    expect(page.find('.aios-Card-name').textContent).toBe('digits');
    widget.dispose();
  });
});
