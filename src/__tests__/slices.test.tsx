import { nullTranslator } from '@jupyterlab/translation';
import type { INotebookTracker } from '@jupyterlab/notebook';
import { Signal } from '@lumino/signaling';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as React from 'react';

import { ClusterSection } from '../cluster/ClusterSection';
import { CommandIDs } from '../commands';
import { CurrentKernel } from '../current';
import { Banner } from '../panel/Banner';
import { SlicesSection } from '../slices/SlicesSection';
import { formOf, requestOf } from '../slices/claim';
import { sliceText } from '../status/StatusItem';
import { Drawing } from './drawing';
import { slice, Socket } from './samples';

const NONE = new CurrentKernel(null);

let page: Drawing;
beforeEach(() => {
  page = new Drawing();
  page.happen(() => void page.model.watch(['slices', 'cluster']));
});
afterEach(() => page.close());

describe('SlicesSection', () => {
  it('teaches how to get one', () => {
    page.draw(<SlicesSection current={NONE} />);
    page.receive('slices', []);
    expect(page.node.textContent).toContain('%aios request --workers 2');
  });

  it('says how big a slice is, why it waits, and what to do with it', async () => {
    const waiting = slice({
      state: 'resizing',
      workers: 1,
      target: 2,
      max_workers: 4,
      reason: 'second.ipynb holds 2 CPU threads.'
    });
    page.draw(<SlicesSection current={NONE} />);
    await page.settle(() => page.receive('slices', [waiting]));
    const card = page.find('.aios-Slice[data-slice-id="s-1"]');
    expect(card.dataset.state).toBe('resizing');
    expect(page.find('.aios-Slice-workers').textContent).toBe('1→2/4');
    expect(page.find('.aios-Slice-workers').getAttribute('aria-label')).toBe(
      '1 workers run, 2 are granted, 4 at most'
    );
    expect(page.find('.aios-Slice-reason').textContent).toContain('second.ipynb');
    const resized = page.record(CommandIDs.resize);
    const released = page.record(CommandIDs.release);
    page.click('.aios-Slice-resize');
    page.click('.aios-Slice-release');
    expect([resized, released]).toEqual([[{ slice: 's-1' }], [{ slice: 's-1' }]]);
  });

  it('says that a slice is parked, to whom its workers were lent, and that it waits for nothing', () => {
    const reason = 'Parked: its 2 workers were lent to b.ipynb while it did nothing; run a cell.';
    const parked = slice({ state: 'requested', parked: true, workers: 0, target: 0, reason });
    page.draw(<SlicesSection current={NONE} />);
    page.receive('slices', [parked]);
    const card = page.find('.aios-Slice[data-parked]');
    expect(card.querySelector('.aios-Chip')?.textContent).toBe('parked');
    expect(card.textContent).toContain('lent to b.ipynb');
    expect(card.querySelector('.aios-Forecast')).toBeNull();
    expect(page.find<HTMLButtonElement>('.aios-Slice-release').disabled).toBe(false);
    expect(sliceText(parked, nullTranslator.load('aios_lab'))).toBe('Slice parked');
  });

  it('links to the dashboard of a slice that has one', async () => {
    page.draw(<SlicesSection current={NONE} />);
    const path = 'aios/slices/s-1/dashboard/status';
    await page.settle(() =>
      page.receive('slices', [slice({ dashboard: path }), slice({ id: 's-2' })])
    );
    const link = page.find<HTMLAnchorElement>('.aios-Slice-dashboard');
    expect(link.href).toBe(page.model.url(path));
    expect(link.href).toMatch(/^https?:.*\/aios\/slices\/s-1\/dashboard\/status$/);
    expect(link.target).toBe('_blank');
    expect(link.getAttribute('aria-label')).toContain('first.ipynb');
    expect(page.find('[data-slice-id="s-2"]').querySelector('a')).toBeNull();
  });

  it('says what a kernel holds of GPUs, who asks for it, and asks for it', async () => {
    page.draw(<SlicesSection current={NONE} />);
    const mine = slice({ kernel_gpu_memory: 12e9, asked_to_free: 'ben asks you to free 12 GB.' });
    const other = slice({ id: 's-2', mine: false, user: 'bob', kernel_gpu_memory: 3e9 });
    await page.settle(() => page.receive('slices', [mine, other, slice({ id: 's-3' })]));
    expect(page.find('[data-slice-id="s-1"] [role="status"]').textContent).toContain('ben asks');
    expect(page.find('[data-slice-id="s-2"]').textContent).toContain('holds 3 GB of GPU memory');
    expect(page.find('[data-slice-id="s-3"]').querySelector('.aios-Slice-askToFree')).toBeNull();
    const asked = page.record(CommandIDs.askToFree);
    page.click('[data-slice-id="s-2"] .aios-Slice-askToFree');
    expect(asked).toEqual([{ slice: 's-2' }]);
  });

  it("has no actions on others' slices and none to release on one that is asleep", () => {
    page.draw(<SlicesSection current={NONE} />);
    page.receive('slices', [
      slice({ dormant: true, workers: 0, target: 0 }),
      slice({ id: 's-2', mine: false, user: 'bob', name: '' })
    ]);
    expect(page.find('[data-slice-id="s-2"]').querySelector('button')).toBeNull();
    expect(page.find<HTMLButtonElement>('.aios-Slice-release').disabled).toBe(true);
    expect(page.find('[data-slice-id="s-1"] .aios-Chip').textContent).toBe('asleep');
  });
});

describe('the slice of the notebook in front', () => {
  /** A tracker of notebooks, of which tests choose the one in front. */
  class Notebooks {
    currentChanged = new Signal<this, void>(this);
    currentWidget: object | null = null;
    show(kernel: string | null): void {
      const sessionContext = {
        session: { kernel: { id: kernel } },
        kernelChanged: new Signal<object, void>({})
      };
      this.currentWidget = kernel ? { sessionContext } : null;
      this.currentChanged.emit();
    }
  }

  it('comes first, alone has the bar, and is scrolled to', () => {
    const notebooks = new Notebooks();
    const current = new CurrentKernel(notebooks as unknown as INotebookTracker);
    page.draw(
      <div className="aios-Section">
        <SlicesSection current={current} />
      </div>
    );
    page.receive('slices', [
      slice({ id: 'a', name: 'a.ipynb', kernel_id: 'k-a' }),
      slice({ id: 'b', name: 'b.ipynb', kernel_id: 'k-b' })
    ]);
    const order = () =>
      [...page.node.querySelectorAll<HTMLElement>('.aios-Slice')].map(card => card.dataset.sliceId);
    expect(order()).toEqual(['a', 'b']);
    expect(page.node.querySelector('[aria-current]')).toBeNull();
    const section = page.find('.aios-Section');
    section.scrollTop = 200;
    page.happen(() => notebooks.show('k-b'));
    expect(order()).toEqual(['b', 'a']);
    expect(section.scrollTop).toBe(0);
    const marked = [...page.node.querySelectorAll<HTMLElement>('.aios-mod-current')];
    expect(marked.map(card => card.dataset.sliceId)).toEqual(['b']);
    page.happen(() => notebooks.show(null));
    expect(order()).toEqual(['a', 'b']);
    expect(page.node.querySelector('.aios-mod-current')).toBeNull();
  });
});

describe('requestOf', () => {
  const before = formOf(
    slice({ unit: { cpus: 1, memory: 2_123_456_789, gpus: 0, gpu_memory: 0 } })
  );

  it('names the workers, and of the rest only what was changed', () => {
    expect(requestOf({ ...before, workers: '4' }, before)).toEqual({ workers: 4 });
    const changed = { cpus: '2', memory: ' 3GB ', gpus: '1', project: 'vision' };
    expect(requestOf({ ...before, ...changed, priority: 'high' }, before)).toEqual({
      workers: 2,
      cpus: 2,
      memory: '3GB',
      gpus: 1,
      priority: 'high',
      project: 'vision'
    });
  });

  it('keeps what was there for a field that was emptied', () => {
    expect(requestOf({ ...before, workers: ' ', memory: '', gpus: '' }, before)).toEqual({
      workers: 2,
      gpus: 0
    });
  });
});

describe('sliceText', () => {
  const text = (changes: Parameters<typeof slice>[0]): string =>
    sliceText(slice(changes), nullTranslator.load(''));

  it('says the size and what is still missing', () => {
    expect(text({})).toBe('Slice 2/2');
    expect(text({ target: 1, workers: 1, reason: 'full' })).toBe('Slice 1/2 · waiting 1');
    expect(text({ dormant: true, workers: 0, target: 0 })).toBe('Slice asleep');
  });
});

describe('ClusterSection', () => {
  const amounts = (cpus: number, gpus: number) => ({
    cpus,
    memory: cpus * 1e9,
    gpus,
    gpu_memory: 0
  });
  const cluster = (gpus: number, simulated: boolean) => ({
    simulated,
    capacity: amounts(4, gpus),
    used: amounts(2, 0),
    nodes: [{ name: 'here', capacity: amounts(4, gpus), used: amounts(2, 0), accelerators: [] }],
    principals: []
  });

  it('shows gauges, and GPUs only where there are any', () => {
    page.draw(<ClusterSection />);
    page.receive('cluster', cluster(0, false));
    const labels = () =>
      [...page.node.querySelectorAll('[role=meter]')].map(node => node.getAttribute('aria-label'));
    expect(labels()).toEqual(['CPU', 'Memory']);
    expect(page.find('[role=meter]').getAttribute('aria-valuenow')).toBe('50');
    expect(page.node.textContent).not.toContain('simulated');
    page.receive('cluster', cluster(2, true));
    expect(labels()).toEqual(['CPU', 'Memory', 'GPUs']);
    expect(page.node.textContent).toContain('simulated');
  });

  it('shows what an administrator should mend when it comes, until it is mended', () => {
    const status = { version: '1', user: 'ada', ready: true, simulated: false };
    const problem = { message: 'The quota file is wrong.', reason: 'quotas', hint: 'Mend line 3.' };
    page.draw(<ClusterSection />);
    page.receive('cluster', cluster(0, false));
    page.receive('status', { ...status, problems: [problem] });
    expect(page.find('.aios-Problem').textContent).toContain('The quota file is wrong.');
    page.receive('status', { ...status, problems: [] });
    expect(page.node.querySelector('.aios-Problem')).toBeNull();
  });

  it('shows who holds what', () => {
    page.draw(<ClusterSection />);
    page.receive('cluster', cluster(0, false));
    page.receive('slices', [slice({ workers: 1, target: 1 }), slice({ mine: false, user: 'bob' })]);
    expect(page.find('[data-user=ada]').textContent).toContain('ada (you)');
    expect(page.find('[data-user=bob]').textContent).toContain('2 · 50%');
    expect(page.node.textContent).not.toContain('lately');
  });

  it('shows who used much lately where that counts, in all projects together', () => {
    const principals = [
      ['cluster', 0.9],
      ['cluster/vision/a%2Fda', 0.3],
      ['cluster/speech/a%2Fda', 0.12],
      ['cluster/vision/bob', 0.001]
    ].map(([path, recent]) => ({ path, recent, weight: 100, share: 0, quota: null, limit: null }));
    const show = (halfLife: number | null) =>
      page.receive('cluster', { ...cluster(0, false), principals, half_life: halfLife });
    page.draw(<ClusterSection />);
    show(null);
    page.receive('slices', [
      slice({ user: 'a/da', workers: 0, target: 0 }),
      slice({ mine: false, user: 'bob', workers: 0, target: 0 })
    ]);
    expect(page.node.textContent).toContain('Nobody holds anything now.');
    expect(page.node.querySelector('[data-user]')).toBeNull();
    show(2 * 86_400);
    expect(page.find('[data-user="a/da"]').textContent).toBe('a/da (you)0 · 0%lately 42%');
    expect(page.find('[data-user="a/da"] [title*=Recent]').title).toContain('halves every 2d');
    expect(page.node.querySelector('[data-user=bob]')).toBeNull();
  });
});

describe('Banner', () => {
  it('comes when the server goes, and goes when it is back', async () => {
    page.draw(<Banner />);
    expect(page.node.querySelector('[role=alert]')).toBeNull();
    await page.settle(() => Socket.last.onclose?.());
    expect(page.find('[role=alert]').textContent).toContain('Reconnecting');
    await page.settle(() => page.model.retry());
    await page.settle(() => Socket.last.onopen?.());
    expect(page.node.querySelector('[role=alert]')).toBeNull();
  });
});
