import { CommandIDs } from '../commands';
import * as React from 'react';

import { useAIOS, useServices } from '../parts/services';

/** What stands above everything while the server cannot be heard; it goes by itself. */
export function Banner(): React.ReactElement | null {
  const { trans, commands } = useServices();
  const link = useAIOS(state => state.link);
  const trouble = useAIOS(state => state.trouble);
  if (link !== 'lost' && !trouble) {
    return null;
  }
  const gone = !trouble || trouble.reason === 'unreachable';
  return (
    <div className="aios-Banner" role="alert" data-reason={trouble?.reason ?? 'unreachable'}>
      <p>{gone ? trans.__('The server is gone. Reconnecting…') : trouble.message}</p>
      {!gone && trouble.hint && <p className="aios-Problem-hint">{trouble.hint}</p>}
      <button
        className="jp-mod-styled aios-Button"
        onClick={() => void commands.execute(CommandIDs.reconnect)}
      >
        {trans.__('Try now')}
      </button>
    </div>
  );
}
