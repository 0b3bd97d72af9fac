import { describe, expect, it } from 'vitest';

import { figure as compared, metricsOf } from '../compare/figure';
import { curve, figure, marks, pace, sizes } from '../runs/figure';
import { sideBySide } from '../runs/setup';
import { points, resize, run } from './samples';

const node = document.createElement('div');

describe('the plot of a run', () => {
  it('has a gap where the run went back to a checkpoint', () => {
    const line = curve([...points([1, 2, 3]), ...points([2, 3], 10)]);
    expect(line.x).toEqual([1, 2, 3, null, 2, 3]);
  });

  it('marks resizes on the curve, with their sizes and why', () => {
    const series = { loss: points([1, 2, 3, 4]), other: points([1]) };
    const { data, layout } = figure(node, series, [resize({ step: 2, time: 2.5 })]);
    expect(data.map(trace => trace.name)).toEqual(['loss', '']);
    expect(data[1]).toMatchObject({ x: [2], y: [0.5], text: ['2→1'] });
    expect(data[1].customdata).toEqual(['The slice shrank.']);
    expect(layout.shapes).toMatchObject([{ x0: 2, x1: 2, yref: 'paper' }]);
  });

  it('writes no sizes where there is no room for them', () => {
    const many = Array.from({ length: 9 }, (_, step) => resize({ step }));
    const trace = figure(node, { loss: points([1]) }, many).data[1];
    expect(trace.mode).toBe('markers');
    expect(trace.text).toHaveLength(9);
  });

  it('stays without marks and pace while nothing has been reported', () => {
    expect(figure(node, {}, [resize()], true).data).toEqual([]);
  });

  it('says how fast the run was, without the steps that it did twice', () => {
    const twice = [...points([1, 2, 3]), ...points([2, 3], 10)];
    expect(pace(twice)).toEqual({ x: [2, 3, 3], y: [1, 1, 1] });
    expect(figure(node, { loss: points([1, 2]) }, [], true).data[1]).toMatchObject({
      yaxis: 'y2',
      y: [1]
    });
  });

  it('leaves no room for how fast it was where nobody can tell', () => {
    const { data, layout } = figure(node, { loss: points([1]) }, [], true);
    expect(data).toHaveLength(1);
    expect(layout.yaxis2).toBeUndefined();
  });

  it('puts a mark before all points at the first one', () => {
    expect(marks(points([5, 6]), [resize({ step: 2, time: 0 })])).toEqual({ x: [2], y: [0.2] });
  });

  it.each([
    [resize(), '2→1'],
    [resize({ before: 2, after: 2 }), '↻2']
  ])('writes a resize as its sizes', (one, text) => {
    expect(sizes(one)).toBe(text);
  });
});

describe('runs beside each other', () => {
  const first = run({ series: { loss: points([1, 2]), accuracy: points([1]) }, started: 0 });
  const second = run({ id: 'r-2', name: 'again', series: { loss: points([1, 3]) }, started: 1 });

  it('draws one metric of each, over steps or seconds', () => {
    expect(metricsOf([first, second])).toEqual(['loss', 'accuracy']);
    const { data } = compared(node, [first, second], 'loss', 'steps');
    expect(data.map(trace => [trace.name, trace.x])).toEqual([
      ['digits', [1, 2]],
      ['again', [1, 3]]
    ]);
    expect(compared(node, [first, second], 'loss', 'seconds').data[1].x).toEqual([0, 2]);
  });

  it('puts what differs first', () => {
    const rows = sideBySide([
      run({ parameters: { lr: 0.1, epochs: 3 }, options: { precision: 'bf16' } }),
      run({ parameters: { lr: 0.2, epochs: 3 } })
    ]);
    expect(rows.map(row => [row.name, row.values, row.differs])).toEqual([
      ['precision', ['bf16', ''], true],
      ['lr', ['0.1', '0.2'], true],
      ['strategy', ['ddp', 'ddp'], false],
      ['ranks', ['2', '2'], false],
      ['epochs', ['3', '3'], false]
    ]);
  });
});
