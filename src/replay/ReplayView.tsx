import * as React from 'react';

import { Progress } from '../parts/Bars';
import { Asking, EmptyState, ProblemNotice } from '../parts/Notice';
import { useAnswer } from '../parts/answer';
import { useServices } from '../parts/services';
import type { Policies } from '../wire';
import { ReplayResult } from './ReplayResult';
import { useReplay } from './useReplay';

const MOST = 6; // policies that the server plays at once
const PERIODS = [1, 7, 30, 90];

/** What would have happened under other policies, beside what did. */
export function ReplayView(): React.ReactElement {
  const { model } = useServices();
  const ask = React.useCallback(() => model.policies(), [model]);
  const { answer: policies, problem } = useAnswer(ask);
  if (problem) {
    return <ProblemNotice problem={problem} />;
  }
  return policies ? <Question policies={policies} /> : <Asking />;
}

function Question(props: { policies: Policies }): React.ReactElement {
  const { trans } = useServices();
  const { names } = props.policies;
  const [days, setDays] = React.useState(7);
  const [chosen, setChosen] = React.useState<readonly string[]>(() =>
    [names[0], names.find(name => name !== names[0] && name.includes('easy'))].flatMap(
      name => name ?? []
    )
  );
  const { replay, problem, ask, cancel } = useReplay();
  const running = replay?.state === 'running';
  const toggle = (name: string): void =>
    setChosen(chosen.includes(name) ? chosen.filter(one => one !== name) : [...chosen, name]);
  return (
    <form
      className="aios-Replay"
      onSubmit={event => {
        event.preventDefault();
        ask({ days, policies: names.filter(name => chosen.includes(name)) });
      }}
    >
      <label className="aios-Replay-period">
        <span>{trans.__('Of the last')}</span>
        <select
          className="jp-mod-styled"
          name="days"
          value={days}
          disabled={running}
          onChange={event => setDays(Number(event.target.value))}
        >
          {PERIODS.map(period => (
            <option key={period} value={period}>
              {trans._n('%1 day', '%1 days', period)}
            </option>
          ))}
        </select>
      </label>
      <fieldset className="aios-Replay-policies" disabled={running}>
        <legend>{trans.__('Under')}</legend>
        {names.map(name => (
          <label key={name}>
            <input
              type="checkbox"
              name={name}
              checked={chosen.includes(name)}
              disabled={!chosen.includes(name) && chosen.length >= MOST}
              onChange={() => toggle(name)}
            />
            <span>{name === props.policies.in_force ? trans.__('%1 (in force)', name) : name}</span>
          </label>
        ))}
      </fieldset>
      {running ? (
        <>
          <Progress
            label={trans.__('Progress of the replay')}
            fraction={replay.progress}
            kind="running"
          />
          <button type="button" className="jp-mod-styled aios-Button" onClick={cancel}>
            {trans.__('Cancel')}
          </button>
        </>
      ) : (
        <button type="submit" className="jp-mod-styled aios-Button" disabled={chosen.length === 0}>
          {trans.__('Play it again')}
        </button>
      )}
      {problem && <ProblemNotice problem={problem} />}
      {replay?.state === 'failed' && replay.problem?.reason === 'too_little' && (
        <EmptyState>
          {trans.__(
            'Nobody used a slice in this time. When notebooks have worked on slices, this shows what another policy would have done for them.'
          )}
        </EmptyState>
      )}
      {replay?.state === 'failed' && replay.problem && replay.problem.reason !== 'too_little' && (
        <ProblemNotice problem={replay.problem} />
      )}
      {replay?.state === 'finished' && <ReplayResult replay={replay} />}
    </form>
  );
}
