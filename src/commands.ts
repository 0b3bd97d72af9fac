import type { ReadonlyJSONObject } from '@lumino/coreutils';

/** The commands of AIOS Lab. */
export namespace CommandIDs {
  export const openPanel = 'aios:open-panel';
  export const openReplay = 'aios:open-replay';
  export const refresh = 'aios:refresh';
  export const reconnect = 'aios:reconnect';
  export const request = 'aios:request-resources';
  export const resize = 'aios:resize-slice';
  export const release = 'aios:release-slice';
  export const askToFree = 'aios:ask-to-free';
  export const trainCell = 'aios:train-cell';
  export const stopRun = 'aios:stop-run';
  export const resumeRun = 'aios:resume-run';
  export const compareRuns = 'aios:compare-runs';
  export const register = 'aios:register-model';
  export const compress = 'aios:compress-model';
  export const insertCode = 'aios:insert-code';
  export const copy = 'aios:copy-text';
}

/** The commands of the palette; the others need arguments that only the panel has. */
export const PALETTE: readonly string[] = [
  CommandIDs.openPanel,
  CommandIDs.openReplay,
  CommandIDs.refresh,
  CommandIDs.request,
  CommandIDs.release,
  CommandIDs.trainCell,
  CommandIDs.stopRun,
  CommandIDs.resumeRun,
  CommandIDs.compareRuns,
  CommandIDs.register,
  CommandIDs.compress
];

const SIZE = {
  workers: { type: 'integer', minimum: 1, description: 'At most so many workers' },
  cpus: { type: 'number', exclusiveMinimum: 0, description: 'CPU threads a worker' },
  memory: { type: 'string', description: 'Memory a worker, such as 2GB' },
  gpus: { type: 'number', minimum: 0, description: 'Accelerators a worker' },
  priority: { type: 'string', enum: ['low', 'normal', 'high'] },
  project: { type: 'string', description: 'In which project' }
};

/** The JSON schema of each command's arguments. Without an argument, the command asks for it. */
export const ARGS: Record<string, ReadonlyJSONObject> = {
  [CommandIDs.openPanel]: { type: 'object', properties: {} },
  [CommandIDs.openReplay]: { type: 'object', properties: {} },
  [CommandIDs.refresh]: { type: 'object', properties: {} },
  [CommandIDs.reconnect]: { type: 'object', properties: {} },
  [CommandIDs.request]: { type: 'object', properties: SIZE },
  [CommandIDs.resize]: {
    type: 'object',
    properties: { slice: { type: 'string', description: 'The id of the slice' }, ...SIZE },
    required: ['slice']
  },
  [CommandIDs.release]: {
    type: 'object',
    properties: {
      slice: { type: 'string', description: "The id of the slice; this notebook's when left out" }
    }
  },
  [CommandIDs.askToFree]: {
    type: 'object',
    properties: { slice: { type: 'string', description: 'The id of the slice' } },
    required: ['slice']
  },
  [CommandIDs.stopRun]: {
    type: 'object',
    properties: {
      run: { type: 'string', description: 'The id of the run' },
      kill: { type: 'boolean', description: 'End its processes at once' }
    }
  },
  [CommandIDs.trainCell]: { type: 'object', properties: {} },
  [CommandIDs.resumeRun]: {
    type: 'object',
    properties: {
      run: { type: 'string', description: 'The id of the run' },
      step: { type: 'integer', minimum: 0, description: 'The checkpoint; the newest when left out' }
    }
  },
  [CommandIDs.compareRuns]: {
    type: 'object',
    properties: {
      runs: {
        type: 'array',
        items: { type: 'string' },
        description: 'The ids of the runs; the newest two when left out'
      }
    }
  },
  [CommandIDs.register]: {
    type: 'object',
    properties: {
      run: { type: 'string', description: 'The id of the run' },
      name: { type: 'string', description: 'The name in the registry' },
      suggestion: { type: 'string', description: 'What the form proposes as the name' }
    }
  },
  [CommandIDs.compress]: {
    type: 'object',
    properties: {
      name: { type: 'string', description: 'The name of the model' },
      version: { type: 'integer', minimum: 1 },
      energy: { type: 'number', exclusiveMinimum: 0, maximum: 1 },
      ratio: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 }
    }
  },
  [CommandIDs.insertCode]: {
    type: 'object',
    properties: { code: { type: 'string' } },
    required: ['code']
  },
  [CommandIDs.copy]: {
    type: 'object',
    properties: { text: { type: 'string' } },
    required: ['text']
  }
};
