import * as React from 'react';

import { clock } from '../format';
import { Choice } from '../parts/Choice';
import { EmptyState, Waiting } from '../parts/Notice';
import { Plot } from '../parts/Plot';
import { useAIOS, useServices } from '../parts/services';
import { orderRuns } from '../state';
import type { Run } from '../wire';
import { CompareTable } from './CompareTable';
import { figure, metricsOf, type Axis } from './figure';
import { useWhole } from './useWhole';

/** More lines than this in one plot cannot be told apart. */
const MOST = 8;

/** Two or more runs: one metric of all in one plot, and what they were started with side by side. */
export function CompareView(props: { chosen: readonly string[] }): React.ReactElement {
  const { trans, model } = useServices();
  const runs = useAIOS(state => state.runs);
  React.useEffect(() => {
    const watching = model.watch(['runs']);
    return () => watching.dispose();
  }, [model]);
  if (!runs) {
    return <Waiting />;
  }
  const mine = orderRuns(runs).filter(run => run.mine);
  if (mine.length < 2) {
    return (
      <EmptyState>
        {trans.__('There is nothing to compare yet: train twice, then come back.')}
      </EmptyState>
    );
  }
  return <Comparison runs={mine} first={props.chosen} />;
}

function Comparison(props: { runs: Run[]; first: readonly string[] }): React.ReactElement {
  const { runs } = props;
  const [ids, setIds] = React.useState<readonly string[]>(() =>
    props.first.length > 0 ? props.first : runs.slice(0, 2).map(run => run.id)
  );
  const chosen = React.useMemo(() => runs.filter(run => ids.includes(run.id)), [runs, ids]);
  const whole = useWhole(chosen);
  return (
    <div className="aios-Compare">
      <Picker runs={runs} ids={ids} onChange={setIds} />
      <div className="aios-Compare-result">
        <Curves runs={whole} />
        <CompareTable runs={whole} />
      </div>
    </div>
  );
}

function Picker(props: {
  runs: readonly Run[];
  ids: readonly string[];
  onChange: (ids: readonly string[]) => void;
}): React.ReactElement {
  const { trans } = useServices();
  const { runs, ids, onChange } = props;
  const now = Date.now() / 1000;
  return (
    <fieldset className="aios-Compare-picker">
      <legend>{trans.__('Runs')}</legend>
      {runs.map(run => (
        <label key={run.id} title={run.id}>
          <input
            type="checkbox"
            name={run.id}
            checked={ids.includes(run.id)}
            disabled={!ids.includes(run.id) && ids.length >= MOST}
            onChange={({ target }) =>
              onChange(target.checked ? [...ids, run.id] : ids.filter(one => one !== run.id))
            }
          />
          <span className="aios-Ellipsis">{run.name}</span>
          <span className="aios-Faint">{clock(run.created, now)}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Curves(props: { runs: readonly Run[] }): React.ReactElement | null {
  const { trans } = useServices();
  const { runs } = props;
  const names = metricsOf(runs);
  const [picked, pick] = React.useState('');
  const [axis, setAxis] = React.useState<Axis>('steps');
  const name = names.includes(picked) ? picked : (names[0] ?? '');
  const draw = React.useCallback(
    (node: HTMLElement) => figure(node, runs, name, axis),
    [runs, name, axis]
  );
  if (!name) {
    return <p className="aios-Faint">{trans.__('None of these runs has reported a value.')}</p>;
  }
  return (
    <>
      <div className="aios-Compare-view">
        <Choice
          label={trans.__('Metric')}
          name="metric"
          value={name}
          options={names.map(one => [one, one])}
          onChange={pick}
        />
        <Choice
          label={trans.__('over')}
          name="axis"
          value={axis}
          options={[
            ['steps', trans.__('steps')],
            ['seconds', trans.__('seconds')]
          ]}
          onChange={setAxis}
        />
      </div>
      <Plot
        draw={draw}
        label={trans.__('%1 of %2 runs; the table has the figures', name, runs.length)}
      />
    </>
  );
}
