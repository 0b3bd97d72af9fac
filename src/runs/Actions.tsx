import * as React from 'react';

import { CommandIDs } from '../commands';
import { useServices } from '../parts/services';
import { hasEnded } from '../state';
import type { Run } from '../wire';

/** What can be done with one's own run. */
export function Actions(props: { run: Run; usable: boolean }): React.ReactElement {
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
