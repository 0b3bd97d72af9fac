import * as React from 'react';

import { useServices } from '../parts/services';
import { asProblem } from '../request';
import type { Problem, Replay, ReplayRequest } from '../wire';

interface IReplaying {
  /** The newest answer; null before the first question. */
  replay: Replay | null;
  /** Why a question was refused, or an answer got lost. */
  problem: Problem | null;
  ask: (request: ReplayRequest) => void;
  cancel: () => void;
}

/** One question at a time about what would have happened; it is ended with what shows it. */
export function useReplay(): IReplaying {
  const { model } = useServices();
  const [replay, setReplay] = React.useState<Replay | null>(null);
  const [problem, setProblem] = React.useState<Problem | null>(null);
  const asked = React.useRef<{ id: string | null } | null>(null);

  const forget = React.useCallback(() => {
    const id = asked.current?.id;
    asked.current = null;
    return id ? model.cancelReplay(id) : null;
  }, [model]);

  const ask = React.useCallback(
    (request: ReplayRequest) => {
      const mine: { id: string | null } = { id: null };
      asked.current = mine;
      setProblem(null);
      const follow = async (): Promise<void> => {
        let one = await model.replay(request);
        mine.id = one.id;
        if (asked.current !== mine) {
          await model.cancelReplay(one.id); // given up before the server had answered
          return;
        }
        setReplay(one);
        while (one.state === 'running' && asked.current === mine) {
          one = await model.followReplay(one.id);
          if (asked.current === mine) {
            setReplay(one);
          }
        }
      };
      follow()
        .catch((error: unknown) => {
          if (asked.current === mine) {
            setReplay(null);
            setProblem(asProblem(error));
          }
        })
        .finally(() => {
          if (asked.current === mine) {
            asked.current = null;
          }
        });
    },
    [model]
  );

  const cancel = React.useCallback(() => {
    forget()?.then(setReplay, (error: unknown) => setProblem(asProblem(error)));
  }, [forget]);

  // Who closes the section wants no answer any more; that it cannot be cancelled then matters to nobody.
  React.useEffect(() => () => void forget()?.catch(() => undefined), [forget]);

  return { replay, problem, ask, cancel };
}
