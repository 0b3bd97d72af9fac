import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { IDisposable } from '@lumino/disposable';
import * as React from 'react';

import { lazily } from '../parts/lazy';
import { ServicesProvider, useAIOS, type IServices } from '../parts/services';
import { hasEnded, reconcile } from '../state';
import type { Run } from '../wire';

/** What `%%aios train` displays: a `wire.Run` as JSON, sent anew with each update. */
export const RUN_MIME = 'application/vnd.aios.run.v1+json';

/** What outputs that were saved before runs told of it do not have. */
const BLANK: Partial<Run> = {
  note: '',
  options: {},
  parameters: {},
  attempt: 0,
  detached: false,
  resumable: false,
  resumed: null,
  ranks: [],
  usage: [],
  joules: null,
  resizes: [],
  checkpoints: [],
  lost: { steps: 0, seconds: 0 },
  data: []
};

const RunView = lazily(async () => (await import('../runs/RunView')).RunView);

function Output(props: { run: Run }): React.ReactElement {
  const runs = useAIOS(state => (state.link === 'connected' ? state.runs : null));
  const link = useAIOS(state => state.link);
  const { run, lost } = reconcile(props.run, runs, Date.now() / 1000);
  return <RunView run={run} lost={lost} plot={true} pace={true} reachable={link !== 'lost'} />;
}

/** A run in a cell's output. It asks the server only for a run that has not ended. */
export class RunOutput extends ReactWidget implements IRenderMime.IRenderer {
  constructor(private _services: IServices) {
    super();
    this.addClass('aios-RunOutput');
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._run = { ...BLANK, ...(model.data[RUN_MIME] as unknown as Run) };
    if (hasEnded(this._run)) {
      this._watching?.dispose();
      this._watching = null;
    } else {
      this._watching ??= this._services.model.watch(['runs']);
    }
    this.update();
    return Promise.resolve();
  }

  override dispose(): void {
    this._watching?.dispose();
    this._watching = null;
    super.dispose();
  }

  protected override render(): React.ReactElement | null {
    return this._run ? (
      <ServicesProvider value={this._services}>
        <Output run={this._run} />
      </ServicesProvider>
    ) : null;
  }

  private _run: Run | null = null;
  private _watching: IDisposable | null = null;
}

/** How outputs of this type are drawn. Safe: a run is drawn as text, never as HTML. */
export function runRenderer(services: IServices): IRenderMime.IRendererFactory {
  return {
    safe: true,
    mimeTypes: [RUN_MIME],
    defaultRank: 40,
    createRenderer: () => new RunOutput(services)
  };
}
