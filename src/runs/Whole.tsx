import * as React from 'react';

import { useServices } from '../parts/services';
import { asProblem } from '../request';
import type { Run } from '../wire';

/** What is drawn of the whole run: where a list abridged it, the server is asked for it. */
export function Whole(props: {
  run: Run;
  /** Draws a run, which is the abridged one until the server has answered. */
  children: (run: Run) => React.ReactNode;
}): React.ReactElement {
  const { model } = useServices();
  const { run } = props;
  const [whole, setWhole] = React.useState<Run | null>(null);
  const [problem, setProblem] = React.useState('');
  React.useEffect(() => {
    let current = true;
    if (run.abridged) {
      model.run(run.id).then(
        answer => current && setWhole(answer),
        (error: unknown) => current && setProblem(asProblem(error).message)
      );
    }
    return () => {
      current = false;
    };
  }, [model, run.id, run.abridged]);
  return (
    <>
      {problem && <p className="aios-Faint">{problem}</p>}
      {props.children(run.abridged ? (whole ?? run) : run)}
    </>
  );
}
