import * as React from 'react';

import { duration, energy, metric, pause, rate } from '../format';
import { useServices } from '../parts/services';
import { hasEnded } from '../state';
import type { Run } from '../wire';

/** How far a run is and how fast, what it does beside training, and its latest values. */
export function Facts(props: { run: Run }): React.ReactElement {
  const { run } = props;
  const facts = useFacts(run);
  return (
    <>
      <div className="aios-Run-facts">{facts.join(' · ')}</div>
      {run.note && !hasEnded(run) && (
        <p className="aios-Run-note" role="status">
          {run.note}
        </p>
      )}
      <Cost run={run} />
      <Latest run={run} />
    </>
  );
}

function useFacts(run: Run): string[] {
  const { trans } = useServices();
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
  if (run.detached && !hasEnded(run)) {
    facts.push(trans.__('detached'));
  }
  if (run.resumed) {
    facts.push(trans.__('from step %1 of %2', run.resumed.step, run.resumed.run_id));
  }
  return facts;
}

/** What resizes and failures cost it, and the energy it used, where that is known. */
function Cost(props: { run: Run }): React.ReactElement | null {
  const { trans } = useServices();
  const { lost, resizes, joules } = props.run;
  const said: string[] = [];
  if (resizes.length > 0 || lost.steps > 0 || lost.seconds > 0) {
    said.push(
      trans._n('%1 resize', '%1 resizes', resizes.length),
      trans._n('%1 step redone', '%1 steps redone', lost.steps),
      trans.__('paused %1', pause(lost.seconds))
    );
  }
  if (joules !== null) {
    said.push(energy(joules));
  }
  return said.length > 0 ? <div className="aios-Run-facts">{said.join(' · ')}</div> : null;
}

function Latest(props: { run: Run }): React.ReactElement | null {
  const { trans } = useServices();
  const { run } = props;
  const metrics = Object.entries(run.metrics);
  if (metrics.length === 0 && run.throughput === null) {
    return null;
  }
  return (
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
  );
}
