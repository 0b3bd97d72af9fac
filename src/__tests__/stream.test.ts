import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { BACKOFF, STEADY, Sequence, Stream, backoff } from '../stream';
import { settings, Socket } from './samples';

function open(): Stream {
  return new Stream(settings({ WebSocket: Socket as unknown as typeof WebSocket }), () => 1);
}

beforeEach(() => {
  vi.useFakeTimers();
  Socket.made = [];
});
afterEach(() => {
  vi.useRealTimers();
});

describe('backoff', () => {
  it('doubles up to the longest wait', () => {
    const waits = [1, 2, 3, 4, 50].map(failures => backoff(failures, 1));
    expect(waits).toEqual([500, 1000, 2000, 4000, BACKOFF.longest]);
  });

  it('spreads browsers over the later half of the wait', () => {
    expect(backoff(3, 0)).toBe(1000);
    expect(backoff(3, 0.5)).toBe(1500);
  });
});

describe('Sequence', () => {
  it('takes what is newer within a topic, gaps included', () => {
    const sequence = new Sequence();
    const accepted = [
      ['runs', 1],
      ['runs', 5],
      ['runs', 5],
      ['runs', 4],
      ['slices', 1],
      ['runs', 6]
    ].map(([topic, seq]) =>
      sequence.accepts({ topic: topic as string, seq: seq as number, data: 0 })
    );
    expect(accepted).toEqual([true, true, false, false, true, true]);
  });

  it('counts anew after a reset', () => {
    const sequence = new Sequence();
    sequence.accepts({ topic: 'runs', seq: 9, data: 0 });
    sequence.reset();
    expect(sequence.accepts({ topic: 'runs', seq: 1, data: 0 })).toBe(true);
  });
});

describe('Stream', () => {
  it('opens no socket before a topic is wanted', () => {
    const stream = open();
    expect(Socket.made).toHaveLength(0);
    stream.want(['slices']);
    expect(Socket.last.url).toBe('ws://lab.test/user/ada/aios/api/stream?token=se%20cret');
    expect(stream.link).toBe('connecting');
  });

  it('leaves the token out of the address where cookies do', () => {
    const made = settings({
      WebSocket: Socket as unknown as typeof WebSocket,
      appendToken: false
    });
    const stream = new Stream(made);
    stream.want(['runs']);
    expect(Socket.last.url).toBe('ws://lab.test/user/ada/aios/api/stream');
    stream.dispose();
  });

  it('asks for what is wanted by anybody, and only when that changes', () => {
    const stream = open();
    const panel = stream.want(['slices', 'runs']);
    Socket.last.onopen?.();
    const status = stream.want(['slices']);
    panel.dispose();
    panel.dispose();
    status.dispose();
    expect(Socket.last.sent).toEqual([
      { topics: ['slices', 'runs'] },
      { topics: ['slices'] },
      { topics: [] }
    ]);
    expect(Socket.made).toHaveLength(1);
  });

  it('asks for nothing while paused', () => {
    const stream = open();
    stream.want(['runs']);
    Socket.last.onopen?.();
    stream.paused = true;
    stream.paused = false;
    expect(Socket.last.sent).toEqual([{ topics: ['runs'] }, { topics: [] }, { topics: ['runs'] }]);
  });

  it('passes frames on in order and drops the old', () => {
    const stream = open();
    const seen: number[] = [];
    stream.received.connect((_, frame) => seen.push(frame.seq));
    stream.want(['runs']);
    Socket.last.onopen?.();
    [1, 3, 2, 4].forEach(seq => Socket.last.frame('runs', seq));
    expect(seen).toEqual([1, 3, 4]);
  });

  it('comes back by itself with growing waits and asks anew', () => {
    const stream = open();
    const links: string[] = [];
    stream.linkChanged.connect((_, link) => links.push(link));
    stream.want(['runs']);
    Socket.last.onopen?.();
    Socket.last.frame('runs', 7);
    Socket.last.onclose?.();
    expect(stream.link).toBe('lost');
    vi.advanceTimersByTime(499);
    expect(Socket.made).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(Socket.made).toHaveLength(2);
    Socket.last.onclose?.();
    vi.advanceTimersByTime(999);
    expect(Socket.made).toHaveLength(2);
    vi.advanceTimersByTime(1);
    expect(Socket.made).toHaveLength(3);

    const seen: number[] = [];
    stream.received.connect((_, frame) => seen.push(frame.seq));
    Socket.last.onopen?.();
    Socket.last.frame('runs', 1);
    expect(seen).toEqual([1]);
    expect(Socket.last.sent).toEqual([{ topics: ['runs'] }]);
    expect(links).toEqual(['connecting', 'connected', 'lost', 'connected']);
  });

  it('waits ever longer for a server that takes it in and sends it away', () => {
    const stream = open();
    stream.want(['runs']);
    for (const wait of [500, 1000, 2000, 4000]) {
      const made = Socket.made.length;
      Socket.last.onopen?.();
      Socket.last.frame('runs', 1);
      Socket.last.onclose?.();
      vi.advanceTimersByTime(wait - 1);
      expect(Socket.made).toHaveLength(made);
      vi.advanceTimersByTime(1);
      expect(Socket.made).toHaveLength(made + 1);
    }
  });

  it('starts the waits over once a connection has held', () => {
    const stream = open();
    stream.want(['runs']);
    for (const wait of [500, 1000]) {
      Socket.last.onclose?.();
      vi.advanceTimersByTime(wait);
    }
    Socket.last.onopen?.();
    vi.advanceTimersByTime(STEADY);
    Socket.last.onclose?.();
    const before = Socket.made.length;
    vi.advanceTimersByTime(500);
    expect(Socket.made).toHaveLength(before + 1);
  });

  it('does not reach for a lost server while nobody looks', () => {
    const stream = open();
    stream.want(['runs']);
    Socket.last.onopen?.();
    stream.paused = true;
    Socket.last.onclose?.();
    vi.advanceTimersByTime(60_000);
    expect(Socket.made).toHaveLength(1);
    stream.paused = false;
    expect(Socket.made).toHaveLength(2);
  });

  it('retries at once when told to', () => {
    const stream = open();
    stream.want(['runs']);
    Socket.last.onclose?.();
    stream.retry();
    expect(Socket.made).toHaveLength(2);
    vi.advanceTimersByTime(60_000);
    expect(Socket.made).toHaveLength(2);
  });

  it('lets go of everything when disposed', () => {
    const stream = open();
    stream.want(['runs']);
    const socket = Socket.last;
    stream.dispose();
    stream.want(['slices']);
    vi.advanceTimersByTime(60_000);
    expect(socket.closed).toBe(true);
    expect(socket.onclose).toBeNull();
    expect(Socket.made).toHaveLength(1);
  });
});
