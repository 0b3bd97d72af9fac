import * as React from 'react';

import { CommandIDs } from '../commands';
import { EmptyState, Waiting } from '../parts/Notice';
import { useAIOS, useServices } from '../parts/services';
import { hasEnded, orderRuns } from '../state';
import { RunView } from './RunView';

/** What to type for a first run: whole, so that it can be run as it is. */
const FIRST_RUN = `%%aios train
import torch

def train(ctx):
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(200):
        x = torch.randn(32, 4)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ctx.report(loss=loss.item())`;

/** Every run that may be seen: those that go on first, then the newest. */
export function RunsSection(): React.ReactElement {
  const { trans, commands } = useServices();
  const runs = useAIOS(state => state.runs);
  const link = useAIOS(state => state.link);
  if (!runs) {
    return <Waiting />;
  }
  if (runs.length === 0) {
    return (
      <EmptyState code="%%aios train" insert={FIRST_RUN}>
        {trans.__('Nothing trained yet. A cell that begins like this trains on your slice:')}
      </EmptyState>
    );
  }
  return (
    <div className="aios-Runs">
      {runs.filter(run => run.mine).length > 1 && (
        <button
          className="jp-mod-styled aios-Button aios-Runs-compare"
          title={trans.__('Show runs in one plot, and what they were started with side by side')}
          onClick={() => void commands.execute(CommandIDs.compareRuns)}
        >
          {trans.__('Compare runs…')}
        </button>
      )}
      {orderRuns(runs).map(run => (
        <RunView
          key={run.id}
          run={run}
          plot={run.mine && !hasEnded(run)}
          reachable={link !== 'lost'}
        />
      ))}
    </div>
  );
}
