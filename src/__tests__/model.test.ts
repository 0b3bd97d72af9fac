import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { AIOSModel } from '../model';
import { answering, json, run, settings, slice, Socket } from './samples';

const STATUS = { version: '1', user: 'ada', ready: true, simulated: false, problems: [] };
const REFUSED = { message: 'No.', reason: 'too_large', hint: 'Less.' };

function make(...answers: (Response | Error)[]) {
  const { fetch, asked } = answering(...answers);
  const model = new AIOSModel(
    settings({ fetch, WebSocket: Socket as unknown as typeof WebSocket })
  );
  return { model, asked };
}

function setHidden(hidden: boolean): void {
  vi.spyOn(document, 'hidden', 'get').mockReturnValue(hidden);
  document.dispatchEvent(new Event('visibilitychange'));
}

beforeEach(() => {
  Socket.made = [];
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe('AIOSModel', () => {
  it('holds what the stream sends and tells of it', () => {
    const { model } = make(json(STATUS));
    let told = 0;
    model.changed.connect(() => told++);
    model.watch(['slices']);
    Socket.last.onopen?.();
    Socket.last.frame('slices', 1, [slice()]);
    expect(model.state.link).toBe('connected');
    expect(model.state.slices).toHaveLength(1);
    expect(told).toBe(3);
  });

  it('puts the answer of a call into the state at once', async () => {
    const { model } = make(json(slice({ max_workers: 5 })), json(run({ state: 'stopping' })));
    await model.resize('s-1', { workers: 5 });
    await model.stop('r-1');
    expect(model.state.slices?.[0].max_workers).toBe(5);
    expect(model.state.runs?.[0].state).toBe('stopping');
  });

  it('hands on a refusal and changes nothing', async () => {
    const { model } = make(json(REFUSED, 422));
    await expect(model.resize('s-1', { workers: 9 })).rejects.toMatchObject({ problem: REFUSED });
    expect(model.state.slices).toBeNull();
  });

  it('asks the server why the stream was lost', async () => {
    const { model } = make(new Response('', { status: 404 }));
    model.watch(['slices']);
    Socket.last.onclose?.();
    await vi.waitFor(() => expect(model.state.trouble?.reason).toBe('absent'));
    model.dispose();
  });

  it('asks for nothing while the page is hidden', () => {
    const { model } = make(json(STATUS));
    model.watch(['runs']);
    Socket.last.onopen?.();
    setHidden(true);
    setHidden(false);
    expect(Socket.last.sent).toEqual([{ topics: ['runs'] }, { topics: [] }, { topics: ['runs'] }]);
  });

  it('reads once when live updates are off', async () => {
    const lists = [{}, [slice()], [run()], [], []].map(body => json(body));
    const { model, asked } = make(json(STATUS), ...lists);
    model.live = false;
    model.watch(['runs']);
    await vi.waitFor(() => expect(model.state.jobs).toEqual([]));
    expect(Socket.made).toHaveLength(0);
    expect(asked).toHaveLength(6);
    expect(model.state.runs).toHaveLength(1);
  });

  it('turns a failed refresh into its trouble', async () => {
    const { model } = make(new TypeError('fetch failed'));
    await model.refresh();
    expect(model.state.trouble?.reason).toBe('unreachable');
  });

  it('is silent after its end', () => {
    const { model } = make();
    model.watch(['runs']);
    const socket = Socket.last;
    model.dispose();
    expect(socket.closed).toBe(true);
    expect(model.isDisposed).toBe(true);
  });
});
