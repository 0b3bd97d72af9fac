import * as React from 'react';

import { count, duration } from '../format';
import { Plot } from '../parts/Plot';
import { useServices } from '../parts/services';
import type { Replay, ReplayFigures } from '../wire';
import { figure, type View } from './figures';

function percent(part: number): string {
  return `${Math.round(part * 100)}%`;
}

function mean(values: number[]): number {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}

/** What happened, and what would have: a table, and a plot of what one picks. */
export function ReplayResult(props: { replay: Replay }): React.ReactElement {
  const { trans } = useServices();
  const { figures, uses, notes } = props.replay;
  const [view, setView] = React.useState<View>('waits');
  const draw = React.useCallback(
    (node: HTMLElement) => figure(node, view, figures),
    [view, figures]
  );
  const views: [View, string][] = [
    ['waits', trans.__('Part of the uses that waited no longer')],
    ['use', trans.__('What was in use')],
    ['shares', trans.__('My share')]
  ];
  const title = views.find(([name]) => name === view)?.[1] ?? '';
  return (
    <div className="aios-Replay-result">
      <p className="aios-Faint">
        {trans._n('%1 use of a slice', '%1 uses of slices', uses)}
        {notes.map(note => ` · ${note}`)}
      </p>
      <Table figures={figures} />
      <label className="aios-Replay-view">
        <span className="aios-Hidden">{trans.__('Plot')}</span>
        <select
          className="jp-mod-styled"
          value={view}
          onChange={event => setView(event.target.value as View)}
        >
          {views.map(([name, label]) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <Plot draw={draw} label={trans.__('%1, by policy; the table has the figures', title)} />
    </div>
  );
}

function Table(props: { figures: ReplayFigures[] }): React.ReactElement {
  const { trans } = useServices();
  const columns: [string, string, (one: ReplayFigures) => string][] = [
    [trans.__('wait'), trans.__('Mean wait for the first worker'), one => duration(one.wait_mean)],
    [trans.__('p99'), trans.__('99 in 100 uses waited no longer'), one => duration(one.wait_p99)],
    [
      trans.__('slowdown'),
      trans.__('How many times longer a use took than alone on the cluster, on average'),
      one => count(one.slowdown_mean)
    ],
    [
      trans.__('in use'),
      trans.__('Of the resource of which most was in use, on average'),
      one => percent(one.used)
    ],
    [
      trans.__('me'),
      trans.__('My share of the cluster, on average'),
      one => percent(mean(one.mine))
    ],
    [
      trans.__('others'),
      trans.__('The share of everybody else together, on average'),
      one => percent(mean(one.others))
    ]
  ];
  return (
    <div className="aios-Replay-table">
      <table>
        <thead>
          <tr>
            <th scope="col">{trans.__('policy')}</th>
            {columns.map(([name, about]) => (
              <th key={name} scope="col" title={about}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.figures.map(one => (
            <tr key={one.policy} data-policy={one.policy}>
              <th scope="row">{one.past ? trans.__('as it was') : one.policy}</th>
              {columns.map(([name, , text]) => (
                <td key={name}>{text(one)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
