import * as React from 'react';

import { CommandIDs } from '../commands';
import { bytes, clock } from '../format';
import { useServices } from '../parts/services';
import type { Run } from '../wire';

/** The checkpoints that are kept, newest first, each with a way to go on from it. */
export function Checkpoints(props: { run: Run; usable: boolean }): React.ReactElement {
  const { trans, commands } = useServices();
  const { run, usable } = props;
  const now = Date.now() / 1000;
  return (
    <ul className="aios-Checkpoints">
      {[...run.checkpoints].reverse().map(one => (
        <li key={one.step}>
          <span className="aios-Ellipsis">
            {trans.__('step %1', one.step)}{' '}
            <span className="aios-Faint">
              {clock(one.time, now)} · {bytes(one.bytes)}
            </span>
          </span>
          {run.mine && (
            <button
              className="jp-mod-styled aios-Button"
              disabled={!usable}
              aria-label={trans.__('Resume %1 (%2) from step %3', run.name, run.id, one.step)}
              title={trans.__('Train on from here, as a run of its own')}
              onClick={() =>
                void commands.execute(CommandIDs.resumeRun, { run: run.id, step: one.step })
              }
            >
              {trans.__('Resume')}
            </button>
          )}
        </li>
      ))}
    </ul>
  );
}
