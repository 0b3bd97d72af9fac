import type { ServerConnection } from '@jupyterlab/services';
import type { IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import { AIOSClient, asProblem } from './request';
import { EMPTY, reduce, type Action, type IAIOSState } from './state';
import { Stream } from './stream';
import type { IAIOSModel } from './tokens';
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

/** The one store: what the panel, the status bar and the cell outputs show comes from here. */
export class AIOSModel implements IAIOSModel, IDisposable {
  constructor(serverSettings: ServerConnection.ISettings) {
    this._client = new AIOSClient(serverSettings);
    this._stream = new Stream(serverSettings);
    this._stream.received.connect((_, frame) => this._apply({ type: 'frame', frame }));
    this._stream.linkChanged.connect(this._onLink, this);
    document.addEventListener('visibilitychange', this._onVisibility);
  }

  get changed(): ISignal<IAIOSModel, void> {
    return this._changed;
  }

  get state(): IAIOSState {
    return this._state;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  get live(): boolean {
    return this._live;
  }

  set live(value: boolean) {
    this._live = value;
    this._pause();
  }

  watch(topics: readonly Topic[]): IDisposable {
    const watching = this._stream.want(topics);
    if (!this._live) {
      void this.refresh();
    }
    return watching;
  }

  retry(): void {
    this._stream.retry();
    void this._explain();
  }

  async refresh(): Promise<void> {
    try {
      this._apply({ type: 'status', status: await this._client.status() });
      await Promise.all([
        this._fetch('cluster', this._client.cluster()),
        this._fetch('slices', this._client.slices()),
        this._fetch('runs', this._client.runs()),
        this._fetch('models', this._client.models()),
        this._fetch('jobs', this._client.jobs())
      ]);
    } catch (error) {
      this._apply({ type: 'trouble', trouble: asProblem(error) });
    }
  }

  async resize(sliceId: string, request: ClaimRequest): Promise<Slice> {
    const slice = await this._client.resize(sliceId, request);
    this._apply({ type: 'slice', slice });
    return slice;
  }

  async release(sliceId: string): Promise<Slice> {
    const slice = await this._client.release(sliceId);
    this._apply({ type: 'slice', slice });
    return slice;
  }

  async askToFree(sliceId: string): Promise<Slice> {
    const slice = await this._client.askToFree(sliceId);
    this._apply({ type: 'slice', slice });
    return slice;
  }

  forecast(sliceId: string): Promise<Forecast> {
    return this._client.forecast(sliceId);
  }

  whatIf(sliceId: string, request: ClaimRequest): Promise<WhatIf> {
    return this._client.whatIf(sliceId, request);
  }

  run(runId: string): Promise<Run> {
    return this._client.run(runId);
  }

  log(runId: string, rank: number): Promise<RunLog> {
    return this._client.log(runId, rank);
  }

  async stop(runId: string, kill = false): Promise<Run> {
    const run = await this._client.stop(runId, kill);
    this._apply({ type: 'run', run });
    return run;
  }

  async register(request: RegisterRequest): Promise<ModelVersion> {
    const version = await this._client.register(request);
    await this._fetch('models', this._client.models());
    return version;
  }

  async compress(name: string, version: number, request: CompressRequest): Promise<Job> {
    const job = await this._client.compress(name, version, request);
    this._apply({ type: 'job', job });
    return job;
  }

  policies(): Promise<Policies> {
    return this._client.policies();
  }

  replay(request: ReplayRequest): Promise<Replay> {
    return this._client.replay(request);
  }

  followReplay(replayId: string): Promise<Replay> {
    return this._client.followReplay(replayId);
  }

  cancelReplay(replayId: string): Promise<Replay> {
    return this._client.cancelReplay(replayId);
  }

  url(path: string): string {
    return this._client.url(path);
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    document.removeEventListener('visibilitychange', this._onVisibility);
    this._stream.dispose();
    Signal.clearData(this);
  }

  private async _fetch(topic: Topic, answer: Promise<unknown>): Promise<void> {
    this._apply({ type: 'frame', frame: { topic, data: await answer } });
  }

  private _onLink(): void {
    const link = this._stream.link;
    this._apply({ type: 'link', link });
    if (link === 'lost' || link === 'connected') {
      void this._explain();
    }
  }

  /** A websocket cannot say why it failed: the status call can. */
  private async _explain(): Promise<void> {
    try {
      this._apply({ type: 'status', status: await this._client.status() });
    } catch (error) {
      if (this._stream.link !== 'connected') {
        this._apply({ type: 'trouble', trouble: asProblem(error) });
      }
    }
  }

  private _onVisibility = (): void => this._pause();

  private _pause(): void {
    this._stream.paused = document.hidden || !this._live;
  }

  private _apply(action: Action): void {
    const state = reduce(this._state, action);
    if (state !== this._state && !this._isDisposed) {
      this._state = state;
      this._changed.emit();
    }
  }

  private _client: AIOSClient;
  private _stream: Stream;
  private _state = EMPTY;
  private _live = true;
  private _isDisposed = false;
  private _changed = new Signal<IAIOSModel, void>(this);
}
