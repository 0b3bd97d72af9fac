import type { INotebookTracker } from '@jupyterlab/notebook';
import { Signal, type ISignal } from '@lumino/signaling';

import type { Slice } from './wire';

/** The kernel of the notebook in front, and when it becomes another. */
export class CurrentKernel {
  constructor(private _tracker: INotebookTracker | null) {
    _tracker?.currentChanged.connect(this._onNotebook, this);
    this._onNotebook();
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get id(): string | null {
    return this._tracker?.currentWidget?.sessionContext.session?.kernel?.id ?? null;
  }

  /** The slice of this kernel among those known, null when there is none. */
  slice(slices: readonly Slice[] | null): Slice | null {
    const { id } = this;
    return (id && slices?.find(slice => slice.kernel_id === id)) || null;
  }

  private _onNotebook(): void {
    const context = this._tracker?.currentWidget?.sessionContext ?? null;
    if (context !== this._context) {
      this._context?.kernelChanged.disconnect(this._onKernel, this);
      context?.kernelChanged.connect(this._onKernel, this);
      this._context = context;
    }
    this._onKernel();
  }

  private _onKernel(): void {
    this._changed.emit();
  }

  private _context: NonNullable<INotebookTracker['currentWidget']>['sessionContext'] | null = null;
  private _changed = new Signal<this, void>(this);
}
