import { percent } from './format';
import type { Link } from './stream';
import type { Topic } from './topics';
import type { Cluster, Frame, Job, Model, Problem, Run, Slice, Status } from './wire';

/** All that the front end knows; never changed in place. A list is null until first heard. */
export interface IAIOSState {
  link: Link;
  /** Why there is nothing to show: the server is gone, or its extension is not enabled. */
  trouble: Problem | null;
  /** What the server could not send of what was asked for. */
  complaint: Problem | null;
  status: Status | null;
  cluster: Cluster | null;
  slices: Slice[] | null;
  runs: Run[] | null;
  models: Model[] | null;
  jobs: Job[] | null;
}

export const EMPTY: IAIOSState = {
  link: 'idle',
  trouble: null,
  complaint: null,
  status: null,
  cluster: null,
  slices: null,
  runs: null,
  models: null,
  jobs: null
};

export type Action =
  | { type: 'link'; link: Link }
  | { type: 'trouble'; trouble: Problem | null }
  | { type: 'status'; status: Status }
  | { type: 'frame'; frame: Pick<Frame, 'topic' | 'data'> }
  | { type: 'slice'; slice: Slice }
  | { type: 'run'; run: Run }
  | { type: 'job'; job: Job };

/** The state after an action; the same object when nothing changed. */
export function reduce(state: IAIOSState, action: Action): IAIOSState {
  switch (action.type) {
    case 'link':
      return changeLink(state, action.link);
    case 'trouble':
      return { ...state, trouble: action.trouble };
    case 'status':
      return { ...state, status: action.status, trouble: null };
    case 'frame':
      return receive(state, action.frame.topic as Topic | 'problem', action.frame.data);
    case 'slice':
      return { ...state, slices: upsert(state.slices, action.slice) };
    case 'run':
      return { ...state, runs: upsert(state.runs, action.run) };
    case 'job':
      return { ...state, jobs: upsert(state.jobs, action.job) };
  }
}

function changeLink(state: IAIOSState, link: Link): IAIOSState {
  if (link === state.link) {
    return state;
  }
  return link === 'connected'
    ? { ...state, link, trouble: null, complaint: null }
    : { ...state, link };
}

function receive(state: IAIOSState, topic: Topic | 'problem', data: unknown): IAIOSState {
  switch (topic) {
    case 'status':
      return { ...state, status: data as Status };
    case 'cluster':
      return { ...state, cluster: data as Cluster };
    case 'slices':
      return { ...state, slices: data as Slice[] };
    case 'runs':
      return { ...state, runs: data as Run[] };
    case 'models':
      return { ...state, models: data as Model[] };
    case 'jobs':
      return { ...state, jobs: data as Job[] };
    case 'problem':
      return { ...state, complaint: data as Problem | null };
    default:
      return state; // a newer server's topic
  }
}

/** The list with the item in the place of the one with its id, or at the front. */
function upsert<T extends { id: string }>(list: T[] | null, item: T): T[] {
  const known = list ?? [];
  if (!known.some(one => one.id === item.id)) {
    return [item, ...known];
  }
  return known.map(one => (one.id === item.id ? item : one));
}

const ENDED: readonly string[] = ['finished', 'stopped', 'failed'];

export function hasEnded(run: Run): boolean {
  return ENDED.includes(run.state);
}

/** Whether a job waits or runs. */
export function isAlive(job: Job): boolean {
  return job.state === 'queued' || job.state === 'running';
}

const OVER: readonly string[] = ['released', 'expired'];

/** The slices to show: that of the kernel in front, mine, then by user and name; not those that are over. */
export function orderSlices(slices: readonly Slice[], kernelId: string | null = null): Slice[] {
  const isCurrent = (slice: Slice): number =>
    Number(kernelId !== null && slice.kernel_id === kernelId);
  return slices
    .filter(slice => !OVER.includes(slice.state))
    .sort(
      (a, b) =>
        isCurrent(b) - isCurrent(a) ||
        Number(b.mine) - Number(a.mine) ||
        a.user.localeCompare(b.user) ||
        a.name.localeCompare(b.name) ||
        a.created - b.created
    );
}

/** The names of the cluster's projects, and the one in use should it not be among them any more. */
export function projectsOf(cluster: Cluster | null, used: string): string[] {
  const names = new Set(used ? [used] : []);
  for (const { path } of cluster?.principals ?? []) {
    const [, project] = namesIn(path);
    if (project) {
      names.add(project);
    }
  }
  return [...names].sort((a, b) => a.localeCompare(b));
}

/** The runs to show: those that go on first, then the newest first. */
export function orderRuns(runs: readonly Run[]): Run[] {
  return [...runs].sort(
    (a, b) => Number(hasEnded(a)) - Number(hasEnded(b)) || b.created - a.created
  );
}

/** How many workers a slice still waits for: more than it was granted, and asked for by somebody. */
export function waitingFor(slice: Slice): number {
  if (slice.dormant || slice.parked || !slice.reason) {
    return 0;
  }
  return Math.max(0, slice.max_workers - slice.target);
}

/** What one user holds of a resource, and the percentage of the cluster that counts as recent use. */
export interface IHolding {
  user: string;
  mine: boolean;
  amount: number;
  recent: number;
}

/** Who holds how much of a resource, and who used the cluster lately where that counts. */
export function holdings(
  slices: readonly Slice[],
  resource: 'gpus' | 'cpus',
  recent: ReadonlyMap<string, number> = new Map()
): IHolding[] {
  const found = new Map<string, IHolding>();
  for (const slice of slices) {
    const { user, mine } = slice;
    const amount = slice.unit[resource] * Math.max(slice.workers, slice.target);
    const before = found.get(user);
    found.set(user, {
      user,
      mine: mine || (before?.mine ?? false),
      amount: amount + (before?.amount ?? 0),
      recent: recent.get(user) ?? 0
    });
  }
  return [...found.values()]
    .filter(one => one.amount > 0 || one.recent > 0)
    .sort((a, b) => Number(b.mine) - Number(a.mine) || b.amount - a.amount || b.recent - a.recent);
}

/** The recent use of each user, in all projects, as a whole percentage; empty where it does not count. */
export function recentUse(cluster: Cluster): Map<string, number> {
  const shares = new Map<string, number>();
  for (const { path, recent } of cluster.half_life ? cluster.principals : []) {
    const [, , user] = namesIn(path);
    if (user) {
      shares.set(user, (shares.get(user) ?? 0) + recent);
    }
  }
  return new Map([...shares].map(([user, share]) => [user, Math.round(percent(share, 1))]));
}

/** The names in a principal's path: cluster/project/user, a slash in a name written as %2F. */
function namesIn(path: string): string[] {
  return path.split('/').map(name => name.replace(/%2F/g, '/'));
}

/** Seconds after which a run that the server does not know counts as lost. */
const LOST_AFTER = 30;

/**
 * The run to draw for an output that may be older than what the server knows, or than the server.
 *
 * @param shown - the run as the output holds it
 * @param runs - the server's runs, null when it was not heard
 * @param now - seconds since the epoch
 * @returns the newer of the two, and whether the run ended without anybody having said so
 */
export function reconcile(
  shown: Run,
  runs: readonly Run[] | null,
  now: number
): { run: Run; lost: boolean } {
  if (hasEnded(shown) || runs === null) {
    return { run: shown, lost: false };
  }
  const known = runs.find(run => run.id === shown.id);
  if (!known) {
    return { run: shown, lost: now - shown.created > LOST_AFTER };
  }
  if (hasEnded(known) || known.step >= shown.step) {
    return { run: known, lost: false };
  }
  // The kernel is ahead with its steps, the server with what was asked of the run.
  const state = known.state === 'stopping' ? known.state : shown.state;
  return { run: { ...shown, state }, lost: false };
}
