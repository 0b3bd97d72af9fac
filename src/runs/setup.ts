import type { Run } from '../wire';

/** A value as it was given: texts as they are, everything else as JSON. */
function told(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}

/** What a run was started with, by name, in the order in which it is shown. */
export function setupOf(run: Run): Map<string, string> {
  const setup = new Map<string, string>([
    ['strategy', run.strategy],
    ['ranks', String(run.world_size)]
  ]);
  for (const values of [run.options, run.parameters]) {
    Object.entries(values).forEach(([name, value]) => {
      if (value !== null && value !== undefined) {
        setup.set(name, told(value));
      }
    });
  }
  run.data.forEach(one => setup.set(`data ${one.name}`, one.digest));
  return setup;
}

/** A row of a table that puts the setups of several runs side by side. */
export interface ISetupRow {
  name: string;
  /** One value a run; empty where a run has none. */
  values: string[];
  differs: boolean;
}

/** The setups of runs side by side, what differs first. */
export function sideBySide(runs: readonly Run[]): ISetupRow[] {
  const setups = runs.map(setupOf);
  const names = new Set(setups.flatMap(setup => [...setup.keys()]));
  const rows = [...names].map(name => {
    const values = setups.map(setup => setup.get(name) ?? '');
    return { name, values, differs: new Set(values).size > 1 };
  });
  return rows.sort((a, b) => Number(b.differs) - Number(a.differs));
}
