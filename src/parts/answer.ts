import * as React from 'react';

import { asProblem } from '../request';
import type { Problem } from '../wire';

/** What the server answers, or why it does not; both null until then, and while there is nothing to ask. */
export function useAnswer<T>(ask: (() => Promise<T>) | null): {
  answer: T | null;
  problem: Problem | null;
} {
  const [answer, setAnswer] = React.useState<T | null>(null);
  const [problem, setProblem] = React.useState<Problem | null>(null);
  React.useEffect(() => {
    let current = true;
    ask?.().then(
      told => current && setAnswer(told),
      (error: unknown) => current && setProblem(asProblem(error))
    );
    return () => {
      current = false;
    };
  }, [ask]);
  return { answer, problem };
}
