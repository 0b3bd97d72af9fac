import { memoryText } from '../format';
import type { ClaimRequest, Slice } from '../wire';

/** What a person types; texts, so that nothing is lost while typing. */
export interface IClaimForm {
  workers: string;
  cpus: string;
  memory: string;
  gpus: string;
  priority: Slice['priority'];
  project: string;
}

export function formOf(slice: Slice): IClaimForm {
  return {
    workers: String(slice.max_workers),
    cpus: String(slice.unit.cpus),
    memory: memoryText(slice.unit.memory),
    gpus: String(slice.unit.gpus),
    priority: slice.priority,
    project: slice.project
  };
}

/** The request that a form makes: only what was changed, so that rounding in the form changes nothing. */
export function requestOf(form: IClaimForm, before: IClaimForm): ClaimRequest {
  const request: ClaimRequest = { workers: numberOf(form.workers, before.workers) };
  if (form.cpus !== before.cpus) {
    request.cpus = numberOf(form.cpus, before.cpus);
  }
  if (form.memory.trim() && form.memory !== before.memory) {
    request.memory = form.memory.trim();
  }
  if (form.gpus !== before.gpus) {
    request.gpus = numberOf(form.gpus, before.gpus);
  }
  if (form.priority !== before.priority) {
    request.priority = form.priority;
  }
  if (form.project !== before.project) {
    request.project = form.project;
  }
  return request;
}

function numberOf(text: string, fallback: string): number {
  return Number(text.trim() === '' ? fallback : text);
}
