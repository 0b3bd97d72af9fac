import * as React from 'react';

import { count, percent } from '../format';
import { useAIOS, useServices } from '../parts/services';
import { holdings, type IHolding } from '../state';
import type { Cluster } from '../wire';

/** How many colours the style sheet has for users. */
const COLOURS = 6;

/** Who holds what: one bar over the resource that counts, a part for each user. */
export function Holders(props: { cluster: Cluster }): React.ReactElement | null {
  const { trans } = useServices();
  const slices = useAIOS(state => state.slices);
  const { capacity } = props.cluster;
  const resource = capacity.gpus > 0 ? 'gpus' : 'cpus';
  const held = holdings(slices ?? [], resource);
  if (held.length === 0) {
    return <p className="aios-Faint">{trans.__('Nobody holds anything now.')}</p>;
  }
  const title = resource === 'gpus' ? trans.__('GPUs held by') : trans.__('CPU threads held by');
  const whole = capacity[resource];
  return (
    <div className="aios-Holders">
      <div className="aios-Holders-title">{title}</div>
      <div className="aios-Bar aios-Holders-bar" aria-hidden="true">
        {held.map((holding, index) => (
          <div
            key={holding.user}
            className={`aios-Holders-part aios-mod-user${index % COLOURS}`}
            style={{ width: `${percent(holding.amount, whole)}%` }}
          />
        ))}
      </div>
      <ul className="aios-Holders-list">
        {held.map((holding, index) => (
          <Holder key={holding.user} holding={holding} whole={whole} colour={index % COLOURS} />
        ))}
      </ul>
    </div>
  );
}

function Holder(props: { holding: IHolding; whole: number; colour: number }): React.ReactElement {
  const { trans } = useServices();
  const { user, mine, amount } = props.holding;
  const name = mine ? trans.__('%1 (you)', user) : user;
  return (
    <li data-user={user}>
      <span className={`aios-Holders-key aios-mod-user${props.colour}`} aria-hidden="true" />
      <span className="aios-Ellipsis" title={name}>
        {name}
      </span>
      <span className="aios-Faint">
        {trans.__('%1 · %2%', count(amount), Math.round(percent(amount, props.whole)))}
      </span>
    </li>
  );
}
