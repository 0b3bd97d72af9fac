import * as React from 'react';

import { duration, metric, pause, rate } from '../format';
import { colours } from '../parts/plotly';
import { useServices, useTheme } from '../parts/services';
import { sideBySide } from '../runs/setup';
import type { Run } from '../wire';
import { colourOf, metricsOf } from './figure';

/** How the runs went, and what they were started with: one column a run, what differs stands out. */
export function CompareTable(props: { runs: readonly Run[] }): React.ReactElement {
  const { trans } = useServices();
  const { runs } = props;
  useTheme();
  const palette = colours(document.body).lines;
  const figures = useFigures(runs);
  return (
    <div className="aios-Table aios-Compare-table">
      <table>
        <thead>
          <tr>
            <td />
            {runs.map((run, place) => (
              <th key={run.id} scope="col" title={run.id}>
                <span
                  className="aios-Holders-key"
                  style={{ background: colourOf(palette, place) }}
                  aria-hidden="true"
                />{' '}
                {run.name}
                <div className="aios-Faint">{run.id}</div>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {figures.map(([name, values]) => (
            <Row key={name} name={name} values={values} />
          ))}
        </tbody>
        <tbody>
          <tr>
            <th scope="rowgroup" colSpan={runs.length + 1} className="aios-Compare-group">
              {trans.__('Started with')}
            </th>
          </tr>
          {sideBySide(runs).map(({ name, values, differs }) => (
            <Row key={name} name={name} values={values} differs={differs} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row(props: { name: string; values: string[]; differs?: boolean }): React.ReactElement {
  const { trans } = useServices();
  return (
    <tr className={props.differs ? 'aios-mod-differs' : undefined}>
      <th scope="row">
        {props.name}
        {props.differs && <span className="aios-Hidden">{trans.__(', which differs')}</span>}
      </th>
      {props.values.map((value, place) => (
        <td key={place} title={value}>
          {value || '–'}
        </td>
      ))}
    </tr>
  );
}

/** The figures of each run, by name: states, times, pace, and the latest value of each metric. */
function useFigures(runs: readonly Run[]): [string, string[]][] {
  const { trans } = useServices();
  const took = (run: Run): string =>
    run.started === null ? '' : duration((run.ended ?? Date.now() / 1000) - run.started);
  const each = (text: (run: Run) => string): string[] => runs.map(text);
  const figures: [string, string[]][] = [
    [trans.__('state'), each(run => run.state)],
    [trans.__('steps'), each(run => String(run.step))],
    [trans.__('time'), each(took)],
    [trans.__('steps a second'), each(run => (run.throughput === null ? '' : rate(run.throughput)))]
  ];
  if (runs.some(run => run.resizes.length > 0)) {
    figures.push(
      [trans.__('resizes'), each(run => String(run.resizes.length))],
      [trans.__('steps redone'), each(run => String(run.lost.steps))],
      [trans.__('paused'), each(run => pause(run.lost.seconds))]
    );
  }
  for (const name of metricsOf(runs)) {
    figures.push([name, each(run => (name in run.metrics ? metric(run.metrics[name]) : ''))]);
  }
  return figures;
}
