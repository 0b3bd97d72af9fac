import { expect, it } from 'vitest';

import { shareHeight } from '../panel/heights';

it.each([
  ['all fit: the last has what is over', [100, 50, 60], 300, [100, 50, 150]],
  [
    'small ones get what they need, large ones the rest evenly',
    [60, 500, 900],
    460,
    [60, 200, 200]
  ],
  ['none fits: even shares', [500, 600], 400, [200, 200]],
  ['folded ones get nothing', [0, 100, 0], 300, [0, 300, 0]],
  ['all are folded', [0, 0], 300, [0, 0]]
])('%s', (_, needs, space, heights) => {
  expect(shareHeight(needs, space)).toEqual(heights);
});
