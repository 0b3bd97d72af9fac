import * as React from 'react';

import type { Run } from '../wire';
import { setupOf } from './setup';

/** What a run was started with: strategy, options, parameters, data. */
export function Setup(props: { run: Run }): React.ReactElement {
  return (
    <dl className="aios-Setup">
      {[...setupOf(props.run)].map(([name, value]) => (
        <React.Fragment key={name}>
          <dt className="aios-Ellipsis" title={name}>
            {name}
          </dt>
          <dd className="aios-Ellipsis" title={value}>
            {value}
          </dd>
        </React.Fragment>
      ))}
    </dl>
  );
}
