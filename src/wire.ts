// Made from aios_lab/wire by `make types`. Change that file, not this one.
export type JobState = 'queued' | 'running' | 'finished' | 'failed';
export type ReplayState = 'running' | 'finished' | 'failed' | 'cancelled';
export type RunState = 'pending' | 'running' | 'stopping' | 'finished' | 'stopped' | 'failed';
export type SliceState =
  'requested' | 'granted' | 'active' | 'resizing' | 'draining' | 'released' | 'expired' | 'failed';

export interface Accelerator {
  index: number;
  name: string;
  uuid: string;
  memory: number;
  memory_used: number | null;
  /**
   * percent
   */
  utilization: number | null;
  /**
   * watts
   */
  power: number | null;
}
export interface Amounts {
  cpus: number;
  /**
   * bytes
   */
  memory: number;
  gpus: number;
  /**
   * bytes
   */
  gpu_memory: number;
}
/**
 * What a kernel asks for. What is left out keeps its present or default value.
 */
export interface ClaimRequest {
  /**
   * at most so many workers
   */
  workers?: number | null;
  /**
   * start only with so many; 1 when left out
   */
  min_workers?: number | null;
  /**
   * CPU threads a worker, 0.1 or more
   */
  cpus?: number | null;
  /**
   * memory a worker: '2GB', '512MiB' or bytes; 128 MiB or more
   */
  memory?: string | number | null;
  /**
   * accelerators a worker
   */
  gpus?: number | null;
  priority?: ('low' | 'normal' | 'high') | null;
  project?: string | null;
  /**
   * expected seconds of use
   */
  duration?: number | null;
  preemptible?: boolean | null;
}
export interface Cluster {
  simulated: boolean;
  /**
   * by which rule claims are served
   */
  policy: string;
  /**
   * seconds after which past use counts half; none where it does not count
   */
  half_life: number | null;
  nodes: NodeView[];
  capacity: Amounts;
  used: Amounts;
  principals: PrincipalShare[];
}
export interface NodeView {
  name: string;
  capacity: Amounts;
  used: Amounts;
  accelerators: Accelerator[];
}
export interface PrincipalShare {
  path: string;
  weight: number;
  /**
   * dominant share held now, 0 to 1
   */
  share: number;
  /**
   * dominant share held on average lately, older use counting less
   */
  recent: number;
  quota: Amounts | null;
  limit: Amounts | null;
}
export interface CompressReport {
  version: ModelVersion;
  before: Measure;
  after: Measure;
  layers: LayerReport[];
}
export interface ModelVersion {
  name: string;
  version: number;
  digest: string;
  parent: number | null;
  run_id: string | null;
  user: string;
  created: number;
  bytes: number;
  parameters: number;
  metrics: {
    [k: string]: number;
  };
  /**
   * how it was compressed; none for an original
   */
  method: string | null;
  /**
   * it carries held-out data, so a compressed child can be measured
   */
  evaluable: boolean;
}
export interface Measure {
  bytes: number;
  parameters: number;
  metrics: {
    [k: string]: number;
  };
}
export interface LayerReport {
  layer: string;
  kind: string;
  rank: number | null;
  full_rank: number;
  before: number;
  after: number;
  decision: string;
}
export interface CompressRequest {
  method?: 'low_rank';
  /**
   * kept share of the squared singular values
   */
  energy?: number | null;
  /**
   * kept share of each layer's parameters
   */
  ratio?: number | null;
}
/**
 * How a slice's own kernel reaches its Dask scheduler. PEM texts, never files.
 */
export interface Connection {
  address: string;
  ca: string;
  cert: string;
  key: string;
  workers: number;
  /**
   * its accelerators, by NVML's numbers; none that are simulated
   */
  devices: number[];
}
/**
 * Where the Dask dashboard of a slice listens, on the machine of its server, which relays it.
 */
export interface Dashboard {
  /**
   * a Unix socket that only the server's own user can open
   */
  socket: string;
}
/**
 * When a slice holds ``workers``: the ones it starts with, or the next one where it has some.
 *
 * Of ten times it is once before ``early`` and once after ``late``; as often before ``start`` as after it. A
 * time is none where that is more than a month away, or nobody can tell.
 */
export interface Forecast {
  slice_id: string;
  made: number;
  state: 'now' | 'expected' | 'never' | 'unknown';
  workers: number;
  /**
   * whether it has workers, and this is about the next one
   */
  grows: boolean;
  early: number | null;
  start: number | null;
  late: number | null;
  /**
   * how many ways it may go on were looked at
   */
  replays: number;
  /**
   * what it rests on, or why there is none
   */
  basis: string;
  /**
   * what is missing, who holds it, who is ahead, what would start now
   */
  reason: string;
  long_run: LongRun | null;
}
/**
 * What queueing theory says of the waits of such claims in the long run (M/M/c), from the past alone.
 */
export interface LongRun {
  /**
   * how many such claims the cluster serves at a time
   */
  servers: number;
  /**
   * of each of them; they cannot keep up from 1 on
   */
  load: number;
  /**
   * seconds of waiting on average; none where they cannot keep up
   */
  mean: number | null;
  /**
   * seconds that nine of ten do not exceed
   */
  late: number | null;
}
/**
 * One message of the websocket, server to client. ``seq`` rises by one a topic.
 */
export interface Frame {
  topic: string;
  seq: number;
  data: unknown;
}
/**
 * Somebody who would give workers back.
 */
export interface Giver {
  slice_id: string;
  user: string;
  name: string;
  workers: number;
}
/**
 * Work of some seconds that the server does for a user, such as compressing a model.
 */
export interface Job {
  id: string;
  kind: string;
  title: string;
  state: JobState;
  /**
   * 0 to 1
   */
  progress: number;
  note: string;
  problem: Problem | null;
  report: CompressReport | null;
}
/**
 * The body of every 4xx answer.
 */
export interface Problem {
  /**
   * What was asked and why it cannot be done.
   */
  message: string;
  /**
   * A short stable word, such as 'too_large'.
   */
  reason: string;
  /**
   * What to do about it.
   */
  hint: string;
}
export interface Model {
  name: string;
  /**
   * newest first
   */
  versions: ModelVersion[];
}
export interface Point {
  step: number;
  time: number;
  value: number;
}
export interface Policies {
  /**
   * all there are, the default first
   */
  names: string[];
  in_force: string;
}
export interface RegisterRequest {
  run_id: string;
  name: string;
}
/**
 * What would have happened: ``figures`` has a line for what did, then one a policy.
 */
export interface Replay {
  id: string;
  state: ReplayState;
  /**
   * 0 to 1
   */
  progress: number;
  days: number;
  policies: string[];
  began: number;
  ended: number;
  /**
   * times that a claim got units and gave them back
   */
  uses: number;
  /**
   * the policies under which it happened
   */
  in_force: string[];
  notes: string[];
  figures: ReplayFigures[];
  /**
   * why there are no figures; 'too_little' is no fault of anybody
   */
  problem: Problem | null;
}
/**
 * What came of the uses under one policy. Times in seconds, parts and shares from 0 to 1.
 */
export interface ReplayFigures {
  /**
   * 'as it was' for what really happened
   */
  policy: string;
  past: boolean;
  uses: number;
  wait_mean: number;
  wait_p50: number;
  wait_p99: number;
  /**
   * bounded at 10 s, as slowdown_p50
   */
  slowdown_mean: number;
  slowdown_p50: number;
  /**
   * the resource of which most was in use
   */
  busiest: string;
  /**
   * the part of it that was in use
   */
  used: number;
  /**
   * Jain's index over users: 1 is fair
   */
  jain: number;
  /**
   * the least wait, every percentile, and the greatest
   */
  waits: number[];
  /**
   * where the intervals of the next three begin, and their end
   */
  times: number[];
  /**
   * of the busiest resource, by interval
   */
  in_use: number[];
  /**
   * the caller's dominant share, by interval
   */
  mine: number[];
  /**
   * the sum of everybody else's
   */
  others: number[];
}
/**
 * Play what was recorded of the last days again, under other policies.
 */
export interface ReplayRequest {
  days?: number;
  /**
   * one to six names
   */
  policies: string[];
}
export interface Run {
  id: string;
  name: string;
  slice_id: string;
  user: string;
  mine: boolean;
  state: RunState;
  strategy: string;
  world_size: number;
  created: number;
  started: number | null;
  ended: number | null;
  step: number;
  total_steps: number | null;
  epoch: number | null;
  total_epochs: number | null;
  /**
   * seconds left
   */
  eta: number | null;
  /**
   * steps a second
   */
  throughput: number | null;
  /**
   * the latest value of each
   */
  metrics: {
    [k: string]: number;
  };
  /**
   * each metric, at most 500 points
   */
  series: {
    [k: string]: Point[];
  };
  error: string;
  mlflow_run_id: string | null;
  has_model: boolean;
  /**
   * the last lines of all ranks
   */
  log_tail: string[];
  /**
   * as lists give a run that has ended: few points, no log; ask for it by its id
   */
  abridged: boolean;
}
/**
 * Values at a step. A loss that diverged is one of them, and JSON has no NaN but as a string.
 */
export interface RunMetric {
  step: number;
  time: number;
  values: {
    [k: string]: number;
  };
  epoch?: number | null;
}
/**
 * What the server wants of a run: go on, stop with a partial result, or die now.
 */
export interface RunOrder {
  order: 'go' | 'stop' | 'kill';
}
/**
 * A kernel tells the server that it begins a run.
 */
export interface RunRequest {
  name: string;
  strategy: string;
  world_size: number;
  total_steps?: number | null;
  total_epochs?: number | null;
  /**
   * the cell or script that is trained
   */
  source?: string;
  parameters?: {
    [k: string]: unknown;
  };
}
/**
 * What happened in a run since the last update; the answer says whether to stop it.
 */
export interface RunUpdate {
  state?: RunState | null;
  /**
   * when its ranks began, by the kernel's clock
   */
  started?: number | null;
  ended?: number | null;
  metrics?: RunMetric[];
  total_steps?: number | null;
  total_epochs?: number | null;
  logs?: string[];
  error?: string | null;
  /**
   * folder of the model bundle that the run saved
   */
  model?: string | null;
}
/**
 * One claim and what it was granted. Without ``mine`` only what others may see is filled in.
 */
export interface Slice {
  id: string;
  state: SliceState;
  /**
   * asked for by nobody yet: it holds nothing until first used
   */
  dormant: boolean;
  user: string;
  project: string;
  /**
   * the notebook's path, or what the owner is called
   */
  name: string;
  kernel_id: string | null;
  mine: boolean;
  unit: Amounts;
  /**
   * workers running now
   */
  workers: number;
  /**
   * workers granted
   */
  target: number;
  min_workers: number;
  max_workers: number;
  priority: 'low' | 'normal' | 'high';
  /**
   * why it holds less than it asked for; empty when it has all
   */
  reason: string;
  /**
   * what went wrong with the request or the slice; empty when nothing did
   */
  problem: string;
  created: number;
  /**
   * when the present state began
   */
  since: number;
  /**
   * use of its CPU threads, 0 to 100
   */
  cpu_percent: number | null;
  memory_used: number | null;
  /**
   * a run is training on it
   */
  busy: boolean;
  /**
   * it did nothing and its workers were lent: they come back when it is used
   */
  parked: boolean;
  /**
   * the cluster's inventory is declared, not real
   */
  simulated: boolean;
  /**
   * path of its Dask dashboard below the server's base URL; empty while it has none
   */
  dashboard: string;
  /**
   * bytes of accelerators' memory that its kernel itself holds, beside its workers
   */
  kernel_gpu_memory: number;
  /**
   * who asks its owner to free that memory, and how; empty when nobody does
   */
  asked_to_free: string;
}
export interface Status {
  version: string;
  user: string;
  ready: boolean;
  simulated: boolean;
  /**
   * what an administrator should mend, in plain words
   */
  problems: Problem[];
}
/**
 * The client's message: all topics it wants: 'status', 'cluster', 'slices', 'runs', 'models', 'jobs'.
 */
export interface Subscribe {
  topics: string[];
}
/**
 * What another request would bring. Nothing was asked for.
 */
export interface WhatIf {
  slice_id: string;
  unit: Amounts;
  min_workers: number;
  max_workers: number;
  /**
   * workers that would start in room that is free
   */
  at_once: number;
  /**
   * workers that are there once others have given back
   */
  soon: number;
  /**
   * who would give back for it, beyond what they give anyway
   */
  gives: Giver[];
  /**
   * without the change; none while nothing is asked for
   */
  before: Forecast | null;
  after: Forecast;
}
