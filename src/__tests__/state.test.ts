import { describe, expect, it } from 'vitest';

import { EMPTY, holdings, orderRuns, orderSlices, reconcile, reduce, waitingFor } from '../state';
import { job, run, slice } from './samples';

const PROBLEM = { message: 'm', reason: 'r', hint: 'h' };

describe('reduce', () => {
  it('takes whole lists, the newest wins', () => {
    const one = reduce(EMPTY, { type: 'frame', frame: { topic: 'runs', data: [run()] } });
    const two = reduce(one, { type: 'frame', frame: { topic: 'runs', data: [] } });
    expect(one.runs).toHaveLength(1);
    expect(two.runs).toEqual([]);
    expect(two.slices).toBeNull();
    expect(EMPTY.runs).toBeNull();
  });

  it('is unmoved by a topic it does not know, and by the link it has', () => {
    expect(reduce(EMPTY, { type: 'frame', frame: { topic: 'new', data: 1 } })).toBe(EMPTY);
    expect(reduce(EMPTY, { type: 'link', link: 'idle' })).toBe(EMPTY);
  });

  it('puts an answer in its place, or in front', () => {
    const state = { ...EMPTY, runs: [run(), run({ id: 'r-2' })] };
    const changed = reduce(state, { type: 'run', run: run({ id: 'r-2', state: 'stopping' }) });
    expect(changed.runs?.map(one => one.state)).toEqual(['running', 'stopping']);
    const first = reduce(EMPTY, { type: 'job', job: job() });
    const second = reduce(first, { type: 'job', job: job({ id: 'j-2' }) });
    expect(second.jobs?.map(one => one.id)).toEqual(['j-2', 'j-1']);
  });

  it('keeps what it knows while the server is gone and drops the trouble when it is back', () => {
    const known = { ...EMPTY, link: 'connected' as const, slices: [slice()] };
    const lost = reduce(reduce(known, { type: 'link', link: 'lost' }), {
      type: 'trouble',
      trouble: PROBLEM
    });
    expect(lost).toMatchObject({ link: 'lost', trouble: PROBLEM });
    expect(lost.slices).toHaveLength(1);
    expect(reduce(lost, { type: 'link', link: 'connected' }).trouble).toBeNull();
  });

  it('keeps what the server could not send until that is over, or it is connected anew', () => {
    const told = reduce(EMPTY, { type: 'frame', frame: { topic: 'problem', data: PROBLEM } });
    expect(told.complaint).toEqual(PROBLEM);
    expect(reduce(told, { type: 'link', link: 'connected' }).complaint).toBeNull();
    const over = { type: 'frame' as const, frame: { topic: 'problem', data: null } };
    expect(reduce(told, over).complaint).toBeNull();
  });
});

describe('what is shown', () => {
  it('has my slices first and none that is over', () => {
    const ids = orderSlices([
      slice({ id: 'b', mine: false, user: 'bob' }),
      slice({ id: 'gone', state: 'released' }),
      slice({ id: 'z', name: 'z.ipynb' }),
      slice({ id: 'a', name: 'a.ipynb' })
    ]).map(one => one.id);
    expect(ids).toEqual(['a', 'z', 'b']);
  });

  it('has the runs that go on first, then the newest', () => {
    const ids = orderRuns([
      run({ id: 'old', state: 'finished', created: 1 }),
      run({ id: 'new', state: 'failed', created: 3 }),
      run({ id: 'on', state: 'running', created: 2 })
    ]).map(one => one.id);
    expect(ids).toEqual(['on', 'new', 'old']);
  });

  it('waits only for what somebody asked for and has not got', () => {
    expect(waitingFor(slice({ target: 1, max_workers: 3, reason: 'full' }))).toBe(2);
    expect(waitingFor(slice({ target: 1, max_workers: 3, reason: '' }))).toBe(0);
    expect(waitingFor(slice({ target: 0, reason: 'x', dormant: true }))).toBe(0);
  });

  it('adds up who holds what, me first, counting what is still being given back', () => {
    const held = holdings(
      [
        slice({ user: 'bob', mine: false, workers: 4, target: 1 }),
        slice({ workers: 1, target: 2 }),
        slice({ workers: 1, target: 1 }),
        slice({ user: 'eve', mine: false, workers: 0, target: 0 })
      ],
      'cpus'
    );
    expect(held).toEqual([
      { user: 'ada', mine: true, amount: 3, recent: 0 },
      { user: 'bob', mine: false, amount: 4, recent: 0 }
    ]);
  });

  it('names who holds nothing but used much lately', () => {
    const asleep = slice({ user: 'eve', mine: false, workers: 0, target: 0 });
    const held = holdings([asleep, slice()], 'cpus', new Map([['eve', 40]]));
    expect(held.map(one => [one.user, one.amount, one.recent])).toEqual([
      ['ada', 2, 0],
      ['eve', 0, 40]
    ]);
  });
});

describe('reconcile', () => {
  it('leaves an ended run alone, with or without a server', () => {
    const ended = run({ state: 'finished' });
    expect(reconcile(ended, [], 1e9)).toEqual({ run: ended, lost: false });
    expect(reconcile(ended, null, 1e9)).toEqual({ run: ended, lost: false });
  });

  it('takes the newer of output and server', () => {
    const shown = run({ step: 10 });
    expect(reconcile(shown, [run({ step: 12 })], 1000).run.step).toBe(12);
    expect(reconcile(shown, [run({ step: 9 })], 1000).run.step).toBe(10);
    expect(reconcile(shown, [run({ step: 9, state: 'stopped' })], 1000).run.state).toBe('stopped');
  });

  it('shows that a run is stopping although the kernel is ahead', () => {
    const { run: drawn } = reconcile(run({ step: 10 }), [run({ step: 9, state: 'stopping' })], 1);
    expect(drawn).toMatchObject({ step: 10, state: 'stopping' });
  });

  it('counts a run as lost when the server does not know it, but not a new one', () => {
    const shown = run({ created: 1000 });
    expect(reconcile(shown, [], 1010).lost).toBe(false);
    expect(reconcile(shown, [], 1100).lost).toBe(true);
    expect(reconcile(shown, null, 1100).lost).toBe(false);
  });
});
