import * as React from 'react';

import { Progress } from '../parts/Bars';
import { Chip } from '../parts/Chip';
import { Fold } from '../parts/Fold';
import { useServices } from '../parts/services';
import { hasEnded } from '../state';
import type { Run } from '../wire';
import { Actions } from './Actions';
import { Checkpoints } from './Checkpoints';
import { Facts } from './Facts';
import { Log } from './Log';
import { LossPlot } from './LossPlot';
import { Ranks, stateCounts } from './Ranks';
import { Resizes } from './Resizes';
import { Setup } from './Setup';
import { Whole } from './Whole';

/** How far a run is, 0 to 1, by steps, else by epochs; null when it has not said how many there are. */
export function fractionOf(run: Run): number | null {
  if (run.state === 'finished') {
    return 1;
  }
  if (run.total_steps) {
    return run.step / run.total_steps;
  }
  if (run.total_epochs && run.epoch !== null) {
    return run.epoch / run.total_epochs;
  }
  return hasEnded(run) ? 0 : null;
}

/**
 * One run, in the panel and in a cell's output.
 *
 * `lost` says that nobody reported its end and that the server does not know it any more.
 */
export function RunView(props: {
  run: Run;
  lost?: boolean;
  /** Whether its plot is shown from the start. */
  plot: boolean;
  /** Whether the plot also shows how fast it was: where there is room. */
  pace?: boolean;
  /** Whether the server can be asked to stop it. */
  reachable: boolean;
}): React.ReactElement {
  const { trans } = useServices();
  const { run, lost = false, pace = false } = props;
  const usable = props.reachable && !lost;
  const points = Object.values(run.series).some(series => series.length > 0);
  // of what ended before it was first drawn here, nothing is asked for until somebody opens it
  const [watched] = React.useState(!run.abridged);
  const quiet = watched && !points && !run.error && Object.keys(run.metrics).length === 0;
  return (
    <section
      className="aios-Card aios-Run"
      data-run-id={run.id}
      data-state={run.state}
      aria-label={run.name}
    >
      <div className="aios-Card-head">
        <span className="aios-Card-name aios-Ellipsis" title={about(run)}>
          {run.name}
        </span>
        <Chip kind={lost ? 'stopped' : run.state} label={lost ? trans.__('lost') : run.state} />
      </div>
      <Progress
        label={trans.__('Progress of %1', run.name)}
        fraction={lost ? (fractionOf(run) ?? 0) : fractionOf(run)}
        kind={lost ? 'stopped' : run.state}
      />
      <Facts run={run} />
      {lost && (
        <p className="aios-Faint">
          {trans.__('Its kernel or server ended before the run did. Run the cell again.')}
        </p>
      )}
      {run.error && (
        <Fold title={trans.__('Error')} open={true} kind="error">
          <pre className="aios-Run-error">{run.error}</pre>
        </Fold>
      )}
      {points && (
        <Fold title={trans.__('Loss')} open={props.plot}>
          <Whole run={run}>{whole => <LossPlot run={whole} pace={pace} />}</Whole>
        </Fold>
      )}
      {run.resizes.length > 0 && (
        <Fold title={trans.__('Resizes (%1)', run.resizes.length)} open={false}>
          <Resizes resizes={run.resizes} />
        </Fold>
      )}
      {run.ranks.length > 0 && (
        <Fold title={trans.__('Ranks: %1', stateCounts(run.ranks))} open={false}>
          <Ranks run={run} />
        </Fold>
      )}
      {run.checkpoints.length > 0 && (
        <Fold title={trans.__('Checkpoints (%1)', run.checkpoints.length)} open={false}>
          <Checkpoints run={run} usable={usable} />
        </Fold>
      )}
      {(run.log_tail.length > 0 || run.abridged) && (
        <Fold title={trans.__('Log')} open={quiet} follow={true}>
          <Whole run={run}>{whole => <Log run={whole} />}</Whole>
        </Fold>
      )}
      {run.mine && (
        <Fold title={trans.__('Started with')} open={false}>
          <Setup run={run} />
        </Fold>
      )}
      {run.mine && <Actions run={run} usable={usable} />}
    </section>
  );
}

function about(run: Run): string {
  return [run.name, run.user, `${run.strategy} × ${run.world_size}`].filter(Boolean).join(' · ');
}
