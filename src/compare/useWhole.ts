import * as React from 'react';

import { useServices } from '../parts/services';
import { tellProblem } from '../parts/tell';
import type { Run } from '../wire';

/** The runs as wholes: those that a list abridged are asked for, once each. */
export function useWhole(runs: readonly Run[]): Run[] {
  const { model } = useServices();
  const [found, setFound] = React.useState<ReadonlyMap<string, Run>>(new Map());
  const asked = React.useRef(new Set<string>());
  React.useEffect(() => {
    for (const { id, abridged } of runs) {
      if (abridged && !asked.current.has(id)) {
        asked.current.add(id);
        model.run(id).then(run => setFound(before => new Map(before).set(id, run)), tellProblem);
      }
    }
  }, [model, runs]);
  return React.useMemo(
    () => runs.map(run => (run.abridged ? (found.get(run.id) ?? run) : run)),
    [runs, found]
  );
}
