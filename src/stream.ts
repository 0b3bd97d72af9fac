import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Signal, type ISignal } from '@lumino/signaling';

import { API } from './request';
import { TOPICS, type Topic } from './topics';
import type { Frame, Subscribe } from './wire';

/** Whether the server can be heard: before the first try, now, or not any more. */
export type Link = 'idle' | 'connecting' | 'connected' | 'lost';

/** Milliseconds before the first and before the latest of the retries. */
export const BACKOFF = { first: 500, longest: 15_000 };

/** Milliseconds a connection holds before it counts as a success: a server may take us in and fail right after. */
export const STEADY = 5000;

/**
 * How long to wait before a retry.
 *
 * @param failures - how many tries have failed in a row, at least 1
 * @param random - 0 to 1; spreads the browsers of a server that comes back over half the wait
 * @returns milliseconds: doubling from `BACKOFF.first` up to `BACKOFF.longest`
 */
export function backoff(failures: number, random: number): number {
  const wait = Math.min(BACKOFF.longest, BACKOFF.first * 2 ** Math.max(0, failures - 1));
  return wait * (0.5 + random / 2);
}

/** Which frames are news: `seq` rises by one a topic, lists are whole, so the newest wins. */
export class Sequence {
  /** True for a frame that is newer than all of its topic seen on this connection. */
  accepts(frame: Frame): boolean {
    const last = this._last.get(frame.topic);
    if (last !== undefined && frame.seq <= last) {
      return false;
    }
    this._last.set(frame.topic, frame.seq);
    return true;
  }

  /** Forget everything: a new connection counts anew. */
  reset(): void {
    this._last.clear();
  }

  private _last = new Map<string, number>();
}

/**
 * The one websocket to the server.
 *
 * Topics are wanted by reference: each `want` is undone by disposing what it returned. With none wanted,
 * or while paused, the socket is asked for nothing; it is opened at the first want and kept, and after a
 * loss it is opened again with growing waits.
 */
export class Stream implements IDisposable {
  constructor(settings: ServerConnection.ISettings, random: () => number = Math.random) {
    this._settings = settings;
    this._random = random;
  }

  /** A frame that is news. */
  get received(): ISignal<this, Frame> {
    return this._received;
  }

  get linkChanged(): ISignal<this, Link> {
    return this._linkChanged;
  }

  get link(): Link {
    return this._link;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** The topics asked for now. */
  get topics(): Topic[] {
    return this._paused ? [] : TOPICS.filter(topic => (this._wants.get(topic) ?? 0) > 0);
  }

  /** Ask for topics until the returned object is disposed. */
  want(topics: readonly Topic[]): IDisposable {
    this._count(topics, 1);
    return new DisposableDelegate(() => this._count(topics, -1));
  }

  /** Ask for nothing while nobody looks; what was wanted is asked for again afterwards. */
  set paused(value: boolean) {
    if (value !== this._paused) {
      this._paused = value;
      this._sync();
    }
  }

  get paused(): boolean {
    return this._paused;
  }

  /** Do not wait for the next retry. */
  retry(): void {
    if (this._link === 'lost') {
      this._open();
    }
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    this._drop();
    Signal.clearData(this);
  }

  private _count(topics: readonly Topic[], by: number): void {
    for (const topic of topics) {
      this._wants.set(topic, (this._wants.get(topic) ?? 0) + by);
    }
    this._sync();
  }

  /** Tell the server what is wanted, if that changed; open the socket if there is none. */
  private _sync(): void {
    if (this._isDisposed) {
      return;
    }
    if (this._link === 'idle') {
      if (this.topics.length > 0) {
        this._open();
      }
      return;
    }
    if (this._link === 'lost') {
      if (this.topics.length > 0 && !this._socket && this._timer === undefined) {
        this._open();
      }
      return;
    }
    if (this._link === 'connected') {
      this._send();
    }
  }

  private _send(): void {
    const message: Subscribe = { topics: this.topics };
    const text = JSON.stringify(message);
    if (this._socket && text !== this._sent) {
      this._sent = text;
      this._socket.send(text);
    }
  }

  private _open(): void {
    this._drop();
    this._setLink(this._failures > 0 ? 'lost' : 'connecting');
    const { wsUrl, token, appendToken, WebSocket } = this._settings;
    let url = URLExt.join(wsUrl, API, 'stream');
    if (appendToken && token) {
      url += `?token=${encodeURIComponent(token)}`;
    }
    const socket = new WebSocket(url);
    this._socket = socket;
    socket.onopen = () => this._onOpen();
    socket.onmessage = event => this._onMessage(event);
    socket.onclose = () => this._onClose();
  }

  private _onOpen(): void {
    this._steady = setTimeout(() => {
      this._failures = 0;
    }, STEADY);
    this._sequence.reset();
    this._send();
    this._setLink('connected');
  }

  private _onMessage(event: MessageEvent): void {
    const frame = JSON.parse(event.data) as Frame;
    if (this._sequence.accepts(frame)) {
      this._received.emit(frame);
    }
  }

  private _onClose(): void {
    this._drop();
    this._failures += 1;
    this._setLink('lost');
    if (this._paused) {
      return; // opened again when somebody looks
    }
    const wait = backoff(this._failures, this._random());
    this._timer = setTimeout(() => {
      this._timer = undefined;
      this._open();
    }, wait);
  }

  /** Let go of the socket and the timers, whatever state they are in. */
  private _drop(): void {
    clearTimeout(this._steady);
    clearTimeout(this._timer);
    this._timer = undefined;
    this._sent = '';
    const socket = this._socket;
    this._socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  private _setLink(link: Link): void {
    if (link !== this._link) {
      this._link = link;
      this._linkChanged.emit(link);
    }
  }

  private _settings: ServerConnection.ISettings;
  private _random: () => number;
  private _link: Link = 'idle';
  private _failures = 0;
  private _wants = new Map<Topic, number>();
  private _sequence = new Sequence();
  private _sent = '';
  private _paused = false;
  private _isDisposed = false;
  private _socket: WebSocket | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _steady: ReturnType<typeof setTimeout> | undefined;
  private _received = new Signal<this, Frame>(this);
  private _linkChanged = new Signal<this, Link>(this);
}
