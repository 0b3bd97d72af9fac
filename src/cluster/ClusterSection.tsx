import * as React from 'react';

import { CommandIDs } from '../commands';
import { bytes, count, percent } from '../format';
import { EmptyState, ProblemNotice, Waiting } from '../parts/Notice';
import { Gauge } from '../parts/Bars';
import { useAIOS, useServices } from '../parts/services';
import type { Cluster } from '../wire';
import { Accelerators } from './Accelerators';
import { Holders } from './Holders';

/** What there is, how much of it is held, and by whom. */
export function ClusterSection(): React.ReactElement {
  const { commands, trans } = useServices();
  const cluster = useAIOS(state => state.cluster);
  const status = useAIOS(state => state.status);
  if (!cluster) {
    return <Waiting />;
  }
  return (
    <div className="aios-Cluster">
      {status?.problems.map(problem => (
        <ProblemNotice key={problem.reason + problem.message} problem={problem} />
      ))}
      {cluster.simulated && <SimulatedBadge />}
      {cluster.policy && cluster.policy !== 'fair_share' && (
        <p
          className="aios-Faint"
          title={trans.__('Named in the quota file; without it, fair share')}
        >
          {trans.__('Policy: %1', cluster.policy)}
        </p>
      )}
      {cluster.nodes.length === 0 ? (
        <EmptyState>
          {trans.__('The cluster has no machines. Your administrator declares them.')}
        </EmptyState>
      ) : (
        <>
          <Gauges cluster={cluster} />
          <Accelerators cluster={cluster} />
          <Holders cluster={cluster} />
          <button
            type="button"
            className="jp-mod-styled aios-Button"
            title={trans.__('Play what was recorded again under other policies')}
            onClick={() => void commands.execute(CommandIDs.openReplay)}
          >
            {trans.__('What would have happened…')}
          </button>
        </>
      )}
    </div>
  );
}

function SimulatedBadge(): React.ReactElement {
  const { trans } = useServices();
  return (
    <span
      className="aios-Badge aios-mod-simulated"
      title={trans.__('The accelerators are declared, not real: slices run on CPU workers.')}
    >
      {trans.__('simulated')}
    </span>
  );
}

function Gauges(props: { cluster: Cluster }): React.ReactElement {
  const { trans } = useServices();
  const { capacity, used } = props.cluster;
  return (
    <>
      <Gauge
        label={trans.__('CPU')}
        text={trans.__('%1 of %2', count(used.cpus), count(capacity.cpus))}
        percent={percent(used.cpus, capacity.cpus)}
        title={trans.__('CPU threads held by slices')}
      />
      <Gauge
        label={trans.__('Memory')}
        text={trans.__('%1 of %2', bytes(used.memory), bytes(capacity.memory))}
        percent={percent(used.memory, capacity.memory)}
        title={trans.__('Memory held by slices')}
      />
      {capacity.gpus > 0 && (
        <Gauge
          label={trans.__('GPUs')}
          text={trans.__('%1 of %2', count(used.gpus), count(capacity.gpus))}
          percent={percent(used.gpus, capacity.gpus)}
          title={trans.__('Accelerators held by slices')}
        />
      )}
    </>
  );
}
