import { ReactWidget } from '@jupyterlab/ui-components';
import { TextItem } from '@jupyterlab/statusbar';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import * as React from 'react';

import { CommandIDs } from '../commands';
import type { CurrentKernel } from '../current';
import { useKernelId } from '../parts/current';
import { ServicesProvider, useAIOS, useServices, type IServices } from '../parts/services';
import { waitingFor } from '../state';
import type { Slice } from '../wire';

/** My slice in a few words: "Slice 1/2 · waiting 1", "Slice asleep", "Slice parked". */
export function sliceText(slice: Slice, trans: TranslationBundle): string {
  if (slice.dormant) {
    return trans.__('Slice asleep');
  }
  if (slice.parked) {
    return trans.__('Slice parked');
  }
  const size = trans.__('Slice %1/%2', slice.workers, slice.max_workers);
  const waiting = waitingFor(slice);
  return waiting > 0 ? trans.__('%1 · waiting %2', size, waiting) : size;
}

function Status(props: { current: CurrentKernel }): React.ReactElement | null {
  const { trans, commands } = useServices();
  const slices = useAIOS(state => state.slices);
  const link = useAIOS(state => state.link);
  const { current } = props;
  useKernelId(current);
  const slice = current.slice(slices);
  if (!slice) {
    return null;
  }
  const lost = link === 'lost';
  const text = lost ? trans.__('Slice: server gone') : sliceText(slice, trans);
  const why = slice.dormant
    ? trans.__("This notebook's slice holds nothing until it is first used.")
    : slice.reason || trans.__("This notebook's slice of the cluster.");
  return (
    <button
      className="aios-Status"
      data-slice-id={slice.id}
      title={`${why} ${trans.__('Click to open the panel.')}`}
      onClick={() => void commands.execute(CommandIDs.openPanel)}
    >
      <TextItem source={text} />
    </button>
  );
}

/** The status bar's word on the slice of the notebook in front; empty where there is none. */
export class StatusItem extends ReactWidget {
  constructor(
    private _services: IServices,
    private _current: CurrentKernel
  ) {
    super();
    this.addClass('aios-StatusItem');
    this._watching = _services.model.watch(['slices']);
  }

  override dispose(): void {
    this._watching.dispose();
    super.dispose();
  }

  protected override render(): React.ReactElement {
    return (
      <ServicesProvider value={this._services}>
        <Status current={this._current} />
      </ServicesProvider>
    );
  }

  private _watching: IDisposable;
}
