import * as React from 'react';

import { count, duration, percent } from '../format';
import { useAIOS, useServices } from '../parts/services';
import { holdings, recentUse, type IHolding } from '../state';
import type { Cluster } from '../wire';

/** The colour of a user, of those that the style sheet has. */
function colour(index: number): string {
  return `aios-mod-user${index % 6}`;
}

/** Who holds what, and who held much lately where that counts. */
export function Holders(props: { cluster: Cluster }): React.ReactElement {
  const { trans } = useServices();
  const slices = useAIOS(state => state.slices);
  const { capacity, half_life: halfLife } = props.cluster;
  const resource = capacity.gpus > 0 ? 'gpus' : 'cpus';
  const holders = holdings(slices ?? [], resource, recentUse(props.cluster));
  const whole = capacity[resource];
  const title = resource === 'gpus' ? trans.__('GPUs held by') : trans.__('CPU threads held by');
  return (
    <div className="aios-Holders">
      {holders.some(one => one.amount > 0) ? (
        <>
          <div className="aios-Holders-title">{title}</div>
          <Parts holders={holders} whole={whole} />
        </>
      ) : (
        <p className="aios-Faint">{trans.__('Nobody holds anything now.')}</p>
      )}
      {holders.length > 0 && (
        <ul className="aios-Holders-list">
          {holders.map((holding, index) => (
            <li key={holding.user} data-user={holding.user}>
              <span className={`aios-Holders-key ${colour(index)}`} aria-hidden="true" />
              <Holder holding={holding} whole={whole} />
              {holding.recent > 0 && <Lately percent={holding.recent} halfLife={halfLife ?? 0} />}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

/** One bar over the resource that counts, a part for each user. */
function Parts(props: { holders: IHolding[]; whole: number }): React.ReactElement {
  return (
    <div className="aios-Bar aios-Holders-bar" aria-hidden="true">
      {props.holders.map(({ user, amount }, index) => (
        <div
          key={user}
          className={`aios-Holders-part ${colour(index)}`}
          style={{ width: `${percent(amount, props.whole)}%` }}
        />
      ))}
    </div>
  );
}

function Holder(props: { holding: IHolding; whole: number }): React.ReactElement {
  const { trans } = useServices();
  const { user, mine, amount } = props.holding;
  const name = mine ? trans.__('%1 (you)', user) : user;
  return (
    <>
      <span className="aios-Ellipsis" title={name}>
        {name}
      </span>
      <span className="aios-Faint">
        {trans.__('%1 · %2%', count(amount), Math.round(percent(amount, props.whole)))}
      </span>
    </>
  );
}

function Lately(props: { percent: number; halfLife: number }): React.ReactElement {
  const { trans } = useServices();
  const about = trans.__(
    'The part of the cluster held on average lately. Recent use counts against a share; it halves every %1.',
    duration(props.halfLife)
  );
  return (
    <span className="aios-Faint" title={about}>
      {trans.__('lately %1%', props.percent)}
    </span>
  );
}
