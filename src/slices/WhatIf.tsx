import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { CommandIDs } from '../commands';
import { asProblem } from '../request';
import { ProblemNotice } from '../parts/Notice';
import { useServices } from '../parts/services';
import type { ClaimRequest, Problem, Slice, WhatIf } from '../wire';
import { AmountFields } from './AmountFields';
import { When, whenText } from './Forecast';
import { formOf, requestOf } from './claim';

interface IAnswer {
  request: ClaimRequest;
  found: WhatIf | null;
  problem: Problem | null;
}

/** Ask what another request would bring; then, with one more click, ask for it. */
export function WhatIfForm(props: { slice: Slice }): React.ReactElement {
  const { model, trans } = useServices();
  const { slice } = props;
  const [before] = React.useState(() => formOf(slice));
  const [form, setForm] = React.useState(before);
  const [asking, setAsking] = React.useState(false);
  const [answer, setAnswer] = React.useState<IAnswer | null>(null);
  const ask = async (event: React.FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const request = requestOf(form, before);
    setAsking(true);
    try {
      setAnswer({ request, found: await model.whatIf(slice.id, request), problem: null });
    } catch (error) {
      setAnswer({ request, found: null, problem: asProblem(error) });
    }
    setAsking(false);
  };
  return (
    <form
      className="aios-Form aios-WhatIf"
      aria-label={trans.__('What if the slice of %1 asked for', slice.name || slice.user)}
      onSubmit={event => void ask(event)}
    >
      <AmountFields amounts={['workers', 'gpus', 'memory']} value={form} onChange={setForm} />
      <div className="aios-Actions">
        <button
          className="jp-mod-styled aios-Button aios-WhatIf-ask"
          type="submit"
          disabled={asking}
        >
          {trans.__('When would that start?')}
        </button>
      </div>
      <div className="aios-WhatIf-answer" aria-live="polite" aria-busy={asking}>
        {answer?.problem && <ProblemNotice problem={answer.problem} />}
        {answer?.found && <Found found={answer.found} request={answer.request} />}
      </div>
    </form>
  );
}

function Found(props: { found: WhatIf; request: ClaimRequest }): React.ReactElement {
  const { trans, commands } = useServices();
  const { found, request } = props;
  return (
    <>
      <p className="aios-WhatIf-now">{atOnce(found, trans)}</p>
      {found.after.state !== 'now' && (
        <>
          <p className="aios-Slice-reason">{found.after.reason}</p>
          <When forecast={found.after} />
        </>
      )}
      {found.before && found.before.state !== 'now' && (
        <p className="aios-Faint">{trans.__('As it is: %1', whenText(found.before, trans))}</p>
      )}
      <div className="aios-Actions">
        <button
          className="jp-mod-styled aios-Button aios-WhatIf-request"
          type="button"
          onClick={() =>
            void commands.execute(CommandIDs.resize, { slice: found.slice_id, ...request })
          }
        >
          {trans.__('Request this')}
        </button>
      </div>
    </>
  );
}

/** How many workers would start now, and who would have to give some back for them. */
function atOnce(found: WhatIf, trans: TranslationBundle): string {
  if (found.soon === 0) {
    return trans.__('Nothing more would start now.');
  }
  const gives = found.gives.map(give =>
    trans.__("%1's %2 gives back %3", give.user, give.name, give.workers)
  );
  return gives.length > 0
    ? trans.__('%1 would start now: %2.', found.soon, gives.join(', '))
    : trans.__('%1 would start now.', found.soon);
}
