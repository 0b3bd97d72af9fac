import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type {
  ClaimRequest,
  Cluster,
  CompressRequest,
  Forecast,
  Job,
  Model,
  ModelVersion,
  Problem,
  Policies,
  RegisterRequest,
  Replay,
  ReplayRequest,
  Run,
  RunLog,
  Slice,
  Status,
  WhatIf
} from './wire';

/** Where the REST calls and the websocket live, below the server's base URL. */
export const API = 'aios/api';

/**
 * A call that the server refused or could not answer.
 *
 * `problem` is always whole: what was asked, a stable word, what to do.
 * `status` is the HTTP status, or 0 when there was no answer at all.
 */
export class ProblemError extends Error {
  constructor(
    readonly problem: Problem,
    readonly status: number
  ) {
    super(problem.message);
    this.name = 'ProblemError';
  }
}

/** What stands in for a problem that the server could not put into words itself. */
const PLAIN: Record<string, Problem> = {
  unreachable: {
    message: 'The Jupyter server does not answer.',
    reason: 'unreachable',
    hint: 'The panel comes back by itself when the server does.'
  },
  absent: {
    message: "The server extension isn't enabled: the server has no AIOS API.",
    reason: 'absent',
    hint: 'Run `jupyter server extension enable aios_lab`, then restart the server.'
  },
  forbidden: {
    message: 'The server does not know who you are, or does not allow this.',
    reason: 'forbidden',
    hint: 'Sign in again by loading the page anew.'
  },
  unexpected: {
    message: 'The server failed to answer.',
    reason: 'unexpected',
    hint: "Look at the server's log for the cause."
  }
};

function isProblem(body: unknown): body is Problem {
  const candidate = body as Problem | null;
  return (
    typeof candidate === 'object' &&
    candidate !== null &&
    typeof candidate.message === 'string' &&
    typeof candidate.reason === 'string' &&
    typeof candidate.hint === 'string'
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a proxy's HTML page, for instance
  }
}

/**
 * The problem that a refused answer carries, or the plain one for its status.
 *
 * @param status - the HTTP status
 * @param body - the parsed JSON body, undefined when it was none
 * @param path - the API path asked for; a 404 on `status` means that the API is not there at all
 */
export function problemOf(status: number, body: unknown, path: string): Problem {
  if (isProblem(body)) {
    return { message: body.message, reason: body.reason, hint: body.hint };
  }
  if (status === 404 && path === 'status') {
    return PLAIN.absent;
  }
  if (status === 401 || status === 403) {
    return PLAIN.forbidden;
  }
  if (status === 502 || status === 503 || status === 504) {
    return PLAIN.unreachable;
  }
  const said = (body as { message?: unknown } | undefined)?.message;
  const detail = typeof said === 'string' && said ? ` (${said})` : '';
  return { ...PLAIN.unexpected, message: `The server answered ${status} to ${path}${detail}.` };
}

/** Any thrown thing as a problem, so that it can be shown. */
export function asProblem(error: unknown): Problem {
  if (error instanceof ProblemError) {
    return error.problem;
  }
  const message = error instanceof Error ? error.message : String(error);
  return { ...PLAIN.unexpected, message };
}

/** The typed REST client. Every method rejects with a `ProblemError`. */
export class AIOSClient {
  constructor(readonly serverSettings: ServerConnection.ISettings) {}

  status(): Promise<Status> {
    return this._call('GET', 'status');
  }

  cluster(): Promise<Cluster> {
    return this._call('GET', 'cluster');
  }

  slices(): Promise<Slice[]> {
    return this._call('GET', 'slices');
  }

  runs(): Promise<Run[]> {
    return this._call('GET', 'runs');
  }

  run(runId: string): Promise<Run> {
    return this._call('GET', `runs/${part(runId)}`);
  }

  /** The end of what one rank of a run printed. */
  log(runId: string, rank: number): Promise<RunLog> {
    return this._call('GET', `runs/${part(runId)}/log?rank=${rank}`);
  }

  models(): Promise<Model[]> {
    return this._call('GET', 'models');
  }

  jobs(): Promise<Job[]> {
    return this._call('GET', 'jobs');
  }

  /** Ask for another size; also wakes a slice that nobody has used yet. */
  resize(sliceId: string, request: ClaimRequest): Promise<Slice> {
    return this._call('PATCH', `slices/${part(sliceId)}`, request);
  }

  /** Give the slice's resources back; the claim stays and holds nothing. */
  release(sliceId: string): Promise<Slice> {
    return this._call('DELETE', `slices/${part(sliceId)}`);
  }

  /** Ask its owner to free the GPU memory that its kernel itself holds. */
  askToFree(sliceId: string): Promise<Slice> {
    return this._call('POST', `slices/${part(sliceId)}/ask-to-free`);
  }

  /** When a slice gets what it waits for. */
  forecast(sliceId: string): Promise<Forecast> {
    return this._call('GET', `slices/${part(sliceId)}/forecast`);
  }

  /** What another request would bring; nothing is asked for. */
  whatIf(sliceId: string, request: ClaimRequest): Promise<WhatIf> {
    return this._call('POST', `slices/${part(sliceId)}/what-if`, request);
  }

  /** Stop a run with what it has learned so far, or kill it at once. */
  stop(runId: string, kill: boolean): Promise<Run> {
    return this._call('POST', `runs/${part(runId)}/stop?kill=${kill ? 1 : 0}`);
  }

  register(request: RegisterRequest): Promise<ModelVersion> {
    return this._call('POST', 'models', request);
  }

  compress(name: string, version: number, request: CompressRequest): Promise<Job> {
    return this._call('POST', `models/${part(name)}/versions/${version}/compress`, request);
  }

  policies(): Promise<Policies> {
    return this._call('GET', 'policies');
  }

  replay(request: ReplayRequest): Promise<Replay> {
    return this._call('POST', 'replays', request);
  }

  /** The replay once it is another, or after some seconds. */
  followReplay(replayId: string): Promise<Replay> {
    return this._call('GET', `replays/${part(replayId)}?wait=20`);
  }

  cancelReplay(replayId: string): Promise<Replay> {
    return this._call('DELETE', `replays/${part(replayId)}`);
  }

  /** The URL of a page below the server's base URL. */
  url(path: string): string {
    return URLExt.join(this.serverSettings.baseUrl, path);
  }

  private async _call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const url = this.url(`${API}/${path}`);
    const init: RequestInit = { method };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
    }
    let response: Response;
    let text: string;
    try {
      response = await ServerConnection.makeRequest(url, init, this.serverSettings);
      text = await response.text();
    } catch (error) {
      if (error instanceof ServerConnection.NetworkError || error instanceof TypeError) {
        throw new ProblemError(PLAIN.unreachable, 0);
      }
      throw error;
    }
    const answer = parse(text);
    if (!response.ok) {
      throw new ProblemError(problemOf(response.status, answer, path), response.status);
    }
    return answer as T;
  }
}

function part(text: string): string {
  return encodeURIComponent(text);
}
