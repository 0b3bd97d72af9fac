import { ServerConnection } from '@jupyterlab/services';

import type { CompressReport, Job, Model, Point, Resize, Run, Slice } from '../wire';

/** Data as the server sends it. */
export function slice(changes: Partial<Slice> = {}): Slice {
  return {
    id: 's-1',
    state: 'active',
    dormant: false,
    user: 'ada',
    project: 'cluster',
    name: 'work/first.ipynb',
    kernel_id: 'k-1',
    mine: true,
    unit: { cpus: 1, memory: 2e9, gpus: 0, gpu_memory: 0 },
    workers: 2,
    target: 2,
    min_workers: 1,
    max_workers: 2,
    priority: 'normal',
    reason: '',
    problem: '',
    created: 100,
    since: 100,
    cpu_percent: null,
    memory_used: null,
    busy: false,
    parked: false,
    simulated: false,
    dashboard: '',
    kernel_gpu_memory: 0,
    asked_to_free: '',
    ...changes
  };
}

export function run(changes: Partial<Run> = {}): Run {
  return {
    id: 'r-1',
    name: 'digits',
    slice_id: 's-1',
    user: 'ada',
    mine: true,
    state: 'running',
    strategy: 'ddp',
    world_size: 2,
    created: 1000,
    started: 1001,
    ended: null,
    step: 30,
    total_steps: 120,
    epoch: 1,
    total_epochs: 4,
    eta: 95,
    throughput: 12.34,
    metrics: { loss: 0.51234 },
    series: {},
    error: '',
    mlflow_run_id: null,
    has_model: false,
    log_tail: [],
    note: '',
    options: {},
    parameters: {},
    attempt: 0,
    detached: false,
    min_workers: null,
    resumable: false,
    resumed: null,
    ranks: [],
    usage: [],
    joules: null,
    resizes: [],
    checkpoints: [],
    lost: { steps: 0, seconds: 0 },
    data: [],
    abridged: false,
    ...changes
  };
}

/** A value at each of the steps, one a second from `after` on: 1 / step. */
export function points(steps: number[], after = 0): Point[] {
  return steps.map(step => ({ step, time: after + step, value: 1 / step }));
}

export function resize(changes: Partial<Resize> = {}): Resize {
  return {
    time: 100,
    step: 20,
    before: 2,
    after: 1,
    why: 'The slice shrank.',
    seconds: 0.42,
    ...changes
  };
}

export function report(): CompressReport {
  return {
    version: model().versions[0],
    before: { bytes: 400_000, parameters: 100_000, metrics: { accuracy: 0.98, only: 1 } },
    after: { bytes: 100_000, parameters: 25_000, metrics: { accuracy: 0.97 } },
    layers: [
      {
        layer: 'fc1',
        kind: 'Linear',
        rank: 8,
        full_rank: 64,
        before: 8192,
        after: 2048,
        decision: 'Rank 8 keeps 90% of the energy.'
      },
      {
        layer: 'fc2',
        kind: 'Linear',
        rank: null,
        full_rank: 10,
        before: 640,
        after: 640,
        decision: 'Factoring would make it larger.'
      }
    ]
  };
}

export function job(changes: Partial<Job> = {}): Job {
  return {
    id: 'j-1',
    kind: 'compress',
    title: `${model().name} v1`,
    state: 'running',
    progress: 0.4,
    note: 'Layer fc1',
    problem: null,
    report: null,
    ...changes
  };
}

export function model(): Model {
  return {
    name: 'digits',
    versions: [
      {
        name: 'digits',
        version: 2,
        digest: 'sha256:b',
        parent: 1,
        run_id: 'r-1',
        user: 'ada',
        created: 2,
        bytes: 100_000,
        parameters: 25_000,
        metrics: { accuracy: 0.97 },
        method: 'low_rank',
        evaluable: true
      }
    ]
  };
}

/** Server settings that talk to the given browser functions instead of a network. */
export function settings(changes: Partial<ServerConnection.ISettings>): ServerConnection.ISettings {
  return ServerConnection.makeSettings({
    baseUrl: 'http://lab.test/user/ada/',
    wsUrl: 'ws://lab.test/user/ada/',
    token: 'se cret',
    appendToken: true,
    ...changes
  });
}

/** A `fetch` that gives the prepared answers in turn, and remembers what was asked. */
export function answering(...answers: (Response | Error)[]): {
  fetch: typeof fetch;
  asked: Request[];
} {
  const asked: Request[] = [];
  return {
    asked,
    fetch: async input => {
      asked.push(input as Request);
      const answer = answers.shift();
      if (!answer) {
        throw new TypeError('fetch failed');
      }
      if (answer instanceof Error) {
        throw answer;
      }
      return answer;
    }
  };
}

export function json(body: unknown, status = 200): Response {
  return new Response(JSON.stringify(body), { status });
}

/** A browser's WebSocket whose other end is the test. */
export class Socket {
  static made: Socket[] = [];

  constructor(readonly url: string) {
    Socket.made.push(this);
  }

  static get last(): Socket {
    return Socket.made[Socket.made.length - 1];
  }

  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  sent: unknown[] = [];
  closed = false;

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.closed = true;
  }

  frame(topic: string, seq: number, data: unknown = []): void {
    this.onmessage?.({ data: JSON.stringify({ topic, seq, data }) });
  }
}
