import * as React from 'react';

import { duration, metric, rate } from '../format';
import { CommandIDs } from '../commands';
import { Progress } from '../parts/Bars';
import { Chip } from '../parts/Chip';
import { Fold } from '../parts/Fold';
import { useServices } from '../parts/services';
import { hasEnded } from '../state';
import type { Run } from '../wire';
import { LossPlot } from './LossPlot';
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
  /** Whether the server can be asked to stop it. */
  reachable: boolean;
}): React.ReactElement {
  const { trans } = useServices();
  const { run, lost = false } = props;
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
          <Whole run={run}>{whole => <LossPlot series={whole.series} />}</Whole>
        </Fold>
      )}
      {(run.log_tail.length > 0 || run.abridged) && (
        <Fold title={trans.__('Log')} open={quiet} follow={true}>
          <Whole run={run}>{whole => <Log run={whole} />}</Whole>
        </Fold>
      )}
      {run.mine && <Actions run={run} usable={props.reachable && !lost} />}
    </section>
  );
}

function Log(props: { run: Run }): React.ReactElement | null {
  const { trans } = useServices();
  const { abridged, log_tail: lines } = props.run;
  if (lines.length === 0) {
    return abridged ? null : <p className="aios-Faint">{trans.__('It printed nothing.')}</p>;
  }
  return (
    <pre className="aios-Run-log" tabIndex={0}>
      {lines.join('\n')}
    </pre>
  );
}

function about(run: Run): string {
  return [run.name, run.user, `${run.strategy} × ${run.world_size}`].filter(Boolean).join(' · ');
}

function Facts(props: { run: Run }): React.ReactElement {
  const { trans } = useServices();
  const { run } = props;
  const of = (now: number, total: number | null): string => (total ? `${now}/${total}` : `${now}`);
  const facts: string[] = [];
  if (run.epoch !== null) {
    // code counts epochs from 0, people from 1; who counts from 1 in code must not see 13 of 12
    const epoch = Math.min(run.epoch + 1, run.total_epochs ?? Infinity);
    facts.push(trans.__('epoch %1', of(epoch, run.total_epochs)));
  }
  if (run.step > 0 || run.total_steps) {
    facts.push(trans.__('step %1', of(run.step, run.total_steps)));
  }
  if (hasEnded(run)) {
    if (run.started !== null && run.ended !== null) {
      facts.push(trans.__('took %1', duration(run.ended - run.started)));
    }
  } else if (run.eta !== null) {
    facts.push(trans.__('%1 left', duration(run.eta)));
  }
  const metrics = Object.entries(run.metrics);
  return (
    <>
      <div className="aios-Run-facts">{facts.join(' · ')}</div>
      {(metrics.length > 0 || run.throughput !== null) && (
        <ul className="aios-Run-metrics" aria-label={trans.__('Latest values')}>
          {metrics.map(([name, value]) => (
            <li key={name}>
              <span className="aios-Faint aios-Ellipsis" title={name}>
                {name}
              </span>{' '}
              <strong>{metric(value)}</strong>
            </li>
          ))}
          {run.throughput !== null && (
            <li title={trans.__('Steps a second')}>
              <span className="aios-Faint">{trans.__('steps')}</span>{' '}
              <strong>{rate(run.throughput)}</strong>
            </li>
          )}
        </ul>
      )}
    </>
  );
}

function Actions(props: { run: Run; usable: boolean }): React.ReactElement {
  const { trans, commands } = useServices();
  const { run, usable } = props;
  const stopping = run.state === 'stopping';
  const which = `${run.name} (${run.id})`; // many runs have the same name
  return (
    <div className="aios-Actions">
      <button
        className={`jp-mod-styled aios-Button aios-Run-stop ${stopping ? 'jp-mod-warn' : ''}`}
        disabled={!usable || hasEnded(run)}
        aria-label={stopping ? trans.__('Kill now: %1', which) : trans.__('Stop %1', which)}
        title={
          stopping
            ? trans.__('End its processes at once; what it did not save is lost')
            : trans.__('Stop after the present step and keep what it has learned')
        }
        onClick={() => void commands.execute(CommandIDs.stopRun, { run: run.id, kill: stopping })}
      >
        {stopping ? trans.__('Kill now') : trans.__('Stop')}
      </button>
      {run.has_model && (
        <button
          className="jp-mod-styled aios-Button aios-Run-register"
          disabled={!usable}
          aria-label={trans.__('Register the model of %1', which)}
          title={trans.__('Put the model of %1 into the registry under a name', which)}
          onClick={() =>
            void commands.execute(CommandIDs.register, { run: run.id, suggestion: run.name })
          }
        >
          {trans.__('Register…')}
        </button>
      )}
    </div>
  );
}
