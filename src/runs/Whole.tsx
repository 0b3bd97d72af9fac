import * as React from 'react';

import { useAnswer } from '../parts/answer';
import { useServices } from '../parts/services';
import type { Run } from '../wire';

/** What is drawn of the whole run: where a list abridged it, the server is asked for it. */
export function Whole(props: {
  run: Run;
  /** Draws a run, which is the abridged one until the server has answered. */
  children: (run: Run) => React.ReactNode;
}): React.ReactElement {
  const { model } = useServices();
  const { run } = props;
  const { id, abridged } = run;
  const ask = React.useCallback(() => model.run(id), [model, id]);
  const { answer: whole, problem } = useAnswer(abridged ? ask : null);
  return (
    <>
      {problem && <p className="aios-Faint">{problem.message}</p>}
      {props.children(abridged ? (whole ?? run) : run)}
    </>
  );
}
