import { afterEach, describe, expect, it } from 'vitest';
import * as React from 'react';

import { CommandIDs } from '../commands';
import { RunOutput, RUN_MIME } from '../renderer/RunOutput';
import { RunsSection } from '../runs/RunsSection';
import { RunView, fractionOf } from '../runs/RunView';
import { plotted } from '../runs/figure';
import type { Run } from '../wire';
import { Drawing } from './drawing';
import { run, Socket } from './samples';

let page: Drawing;
afterEach(() => page.close());

function draw(changes: Partial<Run>, lost = false): Drawing {
  page = new Drawing();
  page.draw(<RunView run={run(changes)} lost={lost} plot={false} reachable={true} />);
  return page;
}

describe('RunView', () => {
  it('says how far it is', () => {
    const { node } = draw({});
    const bar = page.find('[role=progressbar]');
    expect(bar.getAttribute('aria-valuenow')).toBe('25');
    expect(bar.getAttribute('aria-label')).toContain('digits');
    expect(node.textContent).toContain('epoch 2/4 · step 30/120 · 1m 35s left');
    expect(node.textContent).toContain('loss 0.5123');
    expect(node.textContent).toContain('12.3/s');
  });

  it('stops, and kills with the second press', () => {
    draw({});
    const calls = page.record(CommandIDs.stopRun);
    page.click('.aios-Run-stop');
    page.draw(<RunView run={run({ state: 'stopping' })} plot={false} reachable={true} />);
    expect(page.find('.aios-Run-stop').textContent).toBe('Kill now');
    page.click('.aios-Run-stop');
    expect(calls).toEqual([
      { run: 'r-1', kill: false },
      { run: 'r-1', kill: true }
    ]);
  });

  it('opens the log while there is nothing else to see, until somebody chooses', () => {
    const log = { log_tail: ['hello'], metrics: {} };
    draw(log);
    expect(page.find('.aios-Run-log').textContent).toBe('hello');
    page.draw(<RunView run={run({ log_tail: ['hello'] })} plot={false} reachable={true} />);
    expect(page.node.querySelector('.aios-Run-log')).toBeNull();
    page.close();
    draw({ ...log, state: 'failed', error: 'It broke.' });
    expect(page.node.querySelector('.aios-Run-log')).toBeNull();
  });

  it('asks for what a list left out of an ended run once its log is opened', async () => {
    const ended: Partial<Run> = { state: 'finished', metrics: {} };
    const answer = Response.json(run({ ...ended, log_tail: ['epoch 1', 'done'] }));
    page = new Drawing(answer);
    page.draw(<RunView run={run({ ...ended, abridged: true })} plot={false} reachable={true} />);
    expect(page.asked).toHaveLength(0);
    const fold = page.find<HTMLDetailsElement>('details');
    await page.settle(() => {
      fold.open = true;
      fold.dispatchEvent(new Event('toggle'));
    });
    expect(page.asked.map(one => new URL(one.url).pathname)).toEqual([
      '/user/ada/aios/api/runs/r-1'
    ]);
    expect(page.find('.aios-Run-log').textContent).toBe('epoch 1\ndone');
  });

  const refusal = { message: 'There is no run r-1.', reason: 'unknown_run', hint: 'Look.' };
  it.each([
    [refusal, 404, refusal.message],
    [run({ state: 'finished' }), 200, 'It printed nothing.']
  ])('shows the log of a run that ends, or says why there is none', async (body, status, said) => {
    page = new Drawing(Response.json(body, { status }));
    const draws = (changes: Partial<Run>): void =>
      page.draw(<RunView run={run({ metrics: {}, ...changes })} plot={false} reachable={true} />);
    draws({ log_tail: ['hello'] });
    await page.settle(() => draws({ state: 'finished', abridged: true }));
    expect(page.find('details').textContent).toContain(said);
  });

  it('names the run in what a button is called', () => {
    draw({ state: 'finished', has_model: true });
    const names = [...page.node.querySelectorAll('button')].map(one =>
      one.getAttribute('aria-label')
    );
    expect(names).toEqual(['Stop digits (r-1)', 'Register the model of digits (r-1)']);
  });

  it('has nothing to stop once it has ended, and says how long it took', () => {
    draw({ state: 'finished', ended: 1061, has_model: true });
    expect(page.find<HTMLButtonElement>('.aios-Run-stop').disabled).toBe(true);
    expect(page.find('[role=progressbar]').getAttribute('aria-valuenow')).toBe('100');
    expect(page.node.textContent).toContain('took 1m');
    const calls = page.record(CommandIDs.register);
    page.click('.aios-Run-register');
    expect(calls).toEqual([{ run: 'r-1', suggestion: 'digits' }]);
  });

  it('shows an error as text, never as HTML', () => {
    draw({ state: 'failed', error: '<img src=x onerror=alert(1)>' });
    expect(page.find('.aios-Run-error').textContent).toBe('<img src=x onerror=alert(1)>');
    expect(page.node.querySelector('img')).toBeNull();
  });

  it("has no buttons on others' runs, and says what became of a lost one", () => {
    draw({ mine: false });
    expect(page.node.querySelector('button')).toBeNull();
    page.close();
    draw({}, true);
    expect(page.find('.aios-Chip').textContent).toBe('lost');
    expect(page.find<HTMLButtonElement>('.aios-Run-stop').disabled).toBe(true);
  });
});

describe('fractionOf', () => {
  it.each<[Partial<Run>, number | null]>([
    [{ step: 60 }, 0.5],
    [{ total_steps: null, epoch: 2 }, 0.5],
    [{ total_steps: null, total_epochs: null }, null],
    [{ total_steps: null, total_epochs: null, state: 'failed' }, 0],
    [{ step: 3, state: 'finished' }, 1]
  ])('of %o is %d', (changes, fraction) => {
    page = new Drawing();
    expect(fractionOf(run(changes))).toBe(fraction);
  });
});

describe('plotted', () => {
  it('takes the losses, else everything with points', () => {
    page = new Drawing();
    const points = [{ step: 1, time: 1, value: 1 }];
    expect(plotted({ loss: points, val_loss: points, accuracy: points })).toEqual([
      'loss',
      'val_loss'
    ]);
    expect(plotted({ accuracy: points, loss: [] })).toEqual(['accuracy']);
  });
});

describe('RunsSection', () => {
  it('waits, teaches, then lists', () => {
    page = new Drawing();
    page.draw(<RunsSection />);
    expect(page.node.textContent).toContain('Asking the server');
    page.happen(() => void page.model.watch(['runs']));
    page.receive('runs', []);
    expect(page.node.textContent).toContain('%%aios train');
    const calls = page.record(CommandIDs.insertCode) as { code: string }[];
    page.click('button');
    expect(calls[0].code).toMatch(/^%%aios train\n/);
    page.receive('runs', [run(), run({ id: 'r-2' })]);
    expect(page.node.querySelectorAll('.aios-Run')).toHaveLength(2);
  });

  it('says what the server could not send', () => {
    page = new Drawing();
    page.draw(<RunsSection />);
    page.happen(() => void page.model.watch(['runs']));
    page.receive('problem', { message: 'MLflow does not answer.', reason: 'x', hint: 'Start it.' });
    expect(page.node.textContent).toContain('MLflow does not answer.');
    expect(page.node.textContent).toContain('Start it.');
  });
});

describe('RunOutput', () => {
  const output = (data: Run): RunOutput => {
    page = new Drawing();
    const widget = new RunOutput(page.services);
    void widget.renderModel({ data: { [RUN_MIME]: data } } as never);
    return widget;
  };

  it('asks the server for a run that goes on, until it is gone', () => {
    const widget = output(run());
    expect(Socket.made).toHaveLength(1);
    Socket.last.onopen?.();
    widget.dispose();
    expect(Socket.last.sent).toEqual([{ topics: ['runs'] }, { topics: [] }]);
  });

  it('needs no server for a run that has ended', () => {
    output(run({ state: 'finished' })).dispose();
    expect(Socket.made).toHaveLength(0);
  });
});
