import * as React from 'react';

import type { Problem } from '../wire';
import { CommandIDs } from '../commands';
import { useAIOS, useServices } from './services';

/** An empty list that teaches what fills it: a sentence, and code to insert, of which `code` is shown. */
export function EmptyState(props: {
  children: React.ReactNode;
  code?: string;
  insert?: string;
}): React.ReactElement {
  const { trans, commands } = useServices();
  const { code, insert = code } = props;
  return (
    <div className="aios-Empty">
      <p>{props.children}</p>
      {code && (
        <div className="aios-Empty-code">
          <code>{code}</code>
          <button
            className="jp-mod-styled aios-Button"
            title={trans.__('Put this into a new cell of the open notebook')}
            onClick={() => void commands.execute(CommandIDs.insertCode, { code: insert })}
          >
            {trans.__('Insert')}
          </button>
        </div>
      )}
    </div>
  );
}

/** What went wrong, and what to do about it. */
export function ProblemNotice(props: { problem: Problem }): React.ReactElement {
  return (
    <div className="aios-Problem" role="note" data-reason={props.problem.reason}>
      <p>{props.problem.message}</p>
      {props.problem.hint && <p className="aios-Problem-hint">{props.problem.hint}</p>}
    </div>
  );
}

/** What stands for a list that was not heard yet, or that the server could not send. */
export function Waiting(): React.ReactElement {
  const complaint = useAIOS(state => state.complaint);
  return complaint ? <ProblemNotice problem={complaint} /> : <Asking />;
}

/** What stands for an answer that has not come yet. */
export function Asking(): React.ReactElement {
  const { trans } = useServices();
  return (
    <p className="aios-Waiting" role="status">
      {trans.__('Asking the server…')}
    </p>
  );
}
