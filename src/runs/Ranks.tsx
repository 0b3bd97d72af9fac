import * as React from 'react';

import { bytes } from '../format';
import { useServices } from '../parts/services';
import type { Rank, RankUsage, Run } from '../wire';

/** How many ranks are in which state: "2 running", "1 lost, 3 running". */
export function stateCounts(ranks: readonly Rank[]): string {
  const found = new Map<string, number>();
  ranks.forEach(({ state }) => found.set(state, (found.get(state) ?? 0) + 1));
  return [...found].map(([state, number]) => `${number} ${state}`).join(', ');
}

/** Each rank of the present attempt: what it does, what it uses, where it is. */
export function Ranks(props: { run: Run }): React.ReactElement {
  const { trans } = useServices();
  const { ranks, usage } = props.run;
  const used = new Map(usage.map(one => [one.rank, one]));
  const withGPU = usage.some(one => one.gpu !== null);
  return (
    <div className="aios-Table">
      <table>
        <thead>
          <tr>
            <th scope="col">{trans.__('rank')}</th>
            <th scope="col">{trans.__('state')}</th>
            <th scope="col">{trans.__('CPU')}</th>
            <th scope="col">{trans.__('memory')}</th>
            {withGPU && <th scope="col">{trans.__('GPU')}</th>}
            <th scope="col">{trans.__('host')}</th>
          </tr>
        </thead>
        <tbody>
          {ranks.map(rank => (
            <Row key={rank.rank} rank={rank} usage={used.get(rank.rank)} withGPU={withGPU} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row(props: { rank: Rank; usage?: RankUsage; withGPU: boolean }): React.ReactElement {
  const { trans } = useServices();
  const { rank, usage } = props;
  const where = [trans.__('worker %1', rank.worker)];
  if (rank.pid !== null) {
    where.push(trans.__('process %1', rank.pid));
  }
  return (
    <tr data-rank={rank.rank} data-state={rank.state}>
      <th scope="row">{rank.rank}</th>
      <td className={`aios-Rank-state aios-mod-${rank.state}`}>{rank.state}</td>
      <td>{usage ? `${Math.round(usage.cpu)}%` : '–'}</td>
      <td>{usage ? bytes(usage.memory) : '–'}</td>
      {props.withGPU && <td>{usage ? gpu(usage) : '–'}</td>}
      <td className="aios-Ellipsis" title={where.join(' · ')}>
        {rank.host}
      </td>
    </tr>
  );
}

function gpu(usage: RankUsage): string {
  const parts = [
    usage.gpu === null ? '' : `${Math.round(usage.gpu)}%`,
    usage.gpu_memory === null ? '' : bytes(usage.gpu_memory)
  ].filter(Boolean);
  return parts.join(' · ') || '–';
}
