import { describe, expect, it } from 'vitest';

import {
  basename,
  bytes,
  change,
  count,
  duration,
  energy,
  loadLine,
  memoryText,
  metric,
  modelName,
  pause,
  percent,
  rate
} from '../format';

describe('format', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1 kB'],
    [999_600, '1 MB'],
    [2_000_000_000, '2 GB'],
    [1_234_567_890, '1.23 GB'],
    [5e18, '5000 PB']
  ])('writes %d bytes as %s', (value, text) => {
    expect(bytes(value)).toBe(text);
  });

  it('writes memory as a request takes it', () => {
    expect(memoryText(2e9)).toBe('2 GB');
    expect(memoryText(512e6)).toBe('512 MB');
    expect(memoryText(2_000_683_008)).toBe('2 GB');
    expect([1_074e6, 1_611e6, 537e6].map(memoryText)).toEqual(['1 GiB', '1.5 GiB', '512 MiB']);
  });

  it('writes energy and pauses', () => {
    expect([0, 999, 1000, 2_500_000].map(energy)).toEqual(['0 J', '999 J', '1 kJ', '2.5 MJ']);
    expect([0.4221, 9.99, 12.3, 75].map(pause)).toEqual(['0.422s', '9.99s', '12s', '1m 15s']);
  });

  it.each([
    [4, '4'],
    [1.5, '1.5'],
    [9999, '9999'],
    [25_000, '25k'],
    [1_234_567, '1.23M']
  ])('counts %d as %s', (value, text) => {
    expect(count(value)).toBe(text);
  });

  it.each([
    [-3, '0s'],
    [12.4, '12s'],
    [59.7, '1m'],
    [200, '3m 20s'],
    [7500, '2h 5m'],
    [277_200, '3d 5h']
  ])('writes %d seconds as %s', (value, text) => {
    expect(duration(value)).toBe(text);
  });

  it.each([
    [0, '0'],
    [0.512349, '0.5123'],
    [0.00001234, '1.23e-5'],
    [12_345_678, '1.23e+7'],
    [NaN, 'NaN'],
    [null, 'NaN'],
    [-Infinity, '−∞']
  ])('writes the metric %d as %s', (value, text) => {
    expect(metric(value)).toBe(text);
  });

  it('writes rates, changes and shares', () => {
    expect([rate(0.256), rate(12.34), rate(123.4)]).toEqual(['0.256/s', '12.3/s', '123/s']);
    expect([change(100, 25), change(100, 130), change(5, 5), change(0, 5)]).toEqual([
      '−75%',
      '+30%',
      '±0%',
      ''
    ]);
    expect([percent(1, 4), percent(9, 4), percent(1, 0)]).toEqual([25, 100, 0]);
  });

  it.each([
    ['digits', 'digits'],
    [' müde/netz ', 'm-de-netz'],
    ['--a', 'a'],
    ['¿', 'model'],
    ['x'.repeat(200), 'x'.repeat(128)]
  ])('makes a name that the registry takes of %s', (text, name) => {
    expect(modelName(text)).toBe(name);
    expect(name).toMatch(/^[A-Za-z0-9][A-Za-z0-9 ._-]*$/);
  });

  it('shortens paths and writes the line that loads a model', () => {
    expect(basename('work/a b.ipynb')).toBe('a b.ipynb');
    expect(basename('')).toBe('');
    expect(loadLine('digits', 2)).toBe('aios.models.load("digits", 2)');
  });
});
