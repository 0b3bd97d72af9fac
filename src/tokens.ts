import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';

import type { IAIOSState } from './state';
import type { Topic } from './topics';
import type {
  ClaimRequest,
  CompressRequest,
  Forecast,
  Job,
  ModelVersion,
  Policies,
  RegisterRequest,
  Replay,
  ReplayRequest,
  Run,
  RunLog,
  Slice,
  WhatIf
} from './wire';

/** What the server says, kept up to date, and what can be asked of it. Calls reject with a `ProblemError`. */
export interface IAIOSModel {
  /** Emitted after every change of `state`. */
  readonly changed: ISignal<IAIOSModel, void>;
  /** The present state; a new object after each change. */
  readonly state: IAIOSState;
  /** Whether changes are pushed; when false, only `refresh` brings news. */
  live: boolean;
  /** Keep these topics up to date until the returned object is disposed. */
  watch(topics: readonly Topic[]): IDisposable;
  /** Ask for everything once. Never rejects: a failure is the state's `trouble`. */
  refresh(): Promise<void>;
  /** Reach for a lost server at once. */
  retry(): void;
  resize(sliceId: string, request: ClaimRequest): Promise<Slice>;
  release(sliceId: string): Promise<Slice>;
  /** Ask a slice's owner to free the GPU memory that its kernel itself holds. */
  askToFree(sliceId: string): Promise<Slice>;
  /** When a slice gets what it waits for. */
  forecast(sliceId: string): Promise<Forecast>;
  /** What another request would bring; nothing is asked for. */
  whatIf(sliceId: string, request: ClaimRequest): Promise<WhatIf>;
  /** One run as a whole, where the list gives an abridged one. */
  run(runId: string): Promise<Run>;
  /** The end of what one rank of it printed. */
  log(runId: string, rank: number): Promise<RunLog>;
  stop(runId: string, kill?: boolean): Promise<Run>;
  register(request: RegisterRequest): Promise<ModelVersion>;
  compress(name: string, version: number, request: CompressRequest): Promise<Job>;
  policies(): Promise<Policies>;
  /** Play what was recorded again under other policies; `followReplay` tells when it is another. */
  replay(request: ReplayRequest): Promise<Replay>;
  followReplay(replayId: string): Promise<Replay>;
  cancelReplay(replayId: string): Promise<Replay>;
  /** The URL of a page below the server's base URL. */
  url(path: string): string;
}

export const IAIOSModel = new Token<IAIOSModel>(
  'aios-lab:IAIOSModel',
  'The state of the cluster, its slices, runs and models, and what can be asked of them.'
);

/** What a person set. */
export interface IAIOSSettings {
  liveUpdates: boolean;
  compressEnergy: number;
  showStatus: boolean;
  confirmRelease: boolean;
}

/** Settings as they are now; read at use, so that a change holds at once. */
export interface IAIOSPreferences {
  readonly changed: ISignal<IAIOSPreferences, void>;
  readonly values: IAIOSSettings;
}

export const IAIOSPreferences = new Token<IAIOSPreferences>(
  'aios-lab:IAIOSPreferences',
  'The settings of AIOS Lab.'
);
