import * as React from 'react';

import { Choice } from '../parts/Choice';
import { useAnswer } from '../parts/answer';
import { useServices } from '../parts/services';
import type { Run } from '../wire';

const ALL = 'all';

/** The lines of one rank, without its name before each. */
export function linesOf(lines: readonly string[], rank: string): string[] {
  const prefix = `[rank ${rank}] `;
  return lines.filter(line => line.startsWith(prefix)).map(line => line.slice(prefix.length));
}

/** What the ranks printed: the last lines of all, or of one, which the server also reads from its file. */
export function Log(props: { run: Run }): React.ReactElement | null {
  const { trans } = useServices();
  const { run } = props;
  const [rank, setRank] = React.useState(ALL);
  const ranks = Math.max(run.world_size, ...run.ranks.map(one => one.rank + 1));
  if (run.log_tail.length === 0) {
    return run.abridged ? null : <p className="aios-Faint">{trans.__('It printed nothing.')}</p>;
  }
  return (
    <>
      {ranks > 1 && (
        <div className="aios-Run-filter">
          <Choice
            label={trans.__('Of')}
            name="rank"
            value={rank}
            options={[
              [ALL, trans.__('all ranks')],
              ...Array.from({ length: ranks }, (_, one) => {
                const option: [string, string] = [`${one}`, trans.__('rank %1', one)];
                return option;
              })
            ]}
            onChange={setRank}
          />
        </div>
      )}
      {rank === ALL ? (
        <Lines lines={run.log_tail} label={trans.__('Log of all ranks')} />
      ) : (
        <RankLog key={rank} run={run} rank={rank} />
      )}
    </>
  );
}

function RankLog(props: { run: Run; rank: string }): React.ReactElement {
  const { trans, model } = useServices();
  const { run, rank } = props;
  const [older, setOlder] = React.useState(false);
  const ask = React.useCallback(() => model.log(run.id, Number(rank)), [model, run.id, rank]);
  const { answer, problem } = useAnswer(older ? ask : null);
  const lines = older && answer ? answer.lines : linesOf(run.log_tail, rank);
  return (
    <>
      {problem && <p className="aios-Faint">{problem.message}</p>}
      <Lines lines={lines} label={trans.__('Log of rank %1', rank)} />
      {run.mine && (
        <button
          className="jp-mod-styled aios-Button"
          aria-pressed={older}
          onClick={() => setOlder(!older)}
        >
          {older ? trans.__('Last lines, live') : trans.__('Older lines')}
        </button>
      )}
    </>
  );
}

/** Lines that stay at their end while they grow, until somebody scrolls up. */
function Lines(props: { lines: readonly string[]; label: string }): React.ReactElement {
  const { trans } = useServices();
  const node = React.useRef<HTMLPreElement>(null);
  const atEnd = React.useRef(true);
  React.useEffect(() => {
    if (node.current && atEnd.current) {
      node.current.scrollTop = node.current.scrollHeight;
    }
  }, [props.lines]);
  return (
    <pre
      ref={node}
      className="aios-Run-log"
      tabIndex={0}
      role="log"
      aria-live="off"
      aria-label={props.label}
      onScroll={({ currentTarget: { scrollTop, clientHeight, scrollHeight } }) => {
        atEnd.current = scrollHeight - scrollTop - clientHeight < 8;
      }}
    >
      {props.lines.length > 0 ? props.lines.join('\n') : trans.__('Nothing of it yet.')}
    </pre>
  );
}
