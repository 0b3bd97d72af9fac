import * as React from 'react';

import { memoryText } from '../format';
import { useServices } from '../parts/services';
import type { ClaimRequest, Slice } from '../wire';

export type Priority = Slice['priority'];

/** What a person types; texts, so that nothing is lost while typing. */
export interface IClaimForm {
  workers: string;
  memory: string;
  gpus: string;
  priority: Priority;
}

export const PRIORITIES: readonly Priority[] = ['low', 'normal', 'high'];

export function formOf(slice: Slice): IClaimForm {
  return {
    workers: String(slice.max_workers),
    memory: memoryText(slice.unit.memory),
    gpus: String(slice.unit.gpus),
    priority: slice.priority
  };
}

/**
 * The request that a form makes: only what was changed, so that rounding in the form changes nothing.
 * Numbers the server would refuse are sent as they are: its answer says what is possible.
 */
export function requestOf(form: IClaimForm, before: IClaimForm): ClaimRequest {
  const request: ClaimRequest = { workers: numberOf(form.workers, before.workers) };
  if (form.memory.trim() && form.memory !== before.memory) {
    request.memory = form.memory.trim();
  }
  if (form.gpus !== before.gpus) {
    request.gpus = numberOf(form.gpus, before.gpus);
  }
  if (form.priority !== before.priority) {
    request.priority = form.priority;
  }
  return request;
}

function numberOf(text: string, fallback: string): number {
  return Number(text.trim() === '' ? fallback : text);
}

/** The fields of a claim: workers, memory and accelerators a worker, priority. */
export function ResizeFields(props: {
  value: IClaimForm;
  onChange: (value: IClaimForm) => void;
}): React.ReactElement {
  const { trans } = useServices();
  const { value, onChange } = props;
  return (
    <div className="aios-Form">
      <label>
        <span>{trans.__('Workers')}</span>
        <input
          className="jp-mod-styled"
          name="workers"
          type="number"
          min={1}
          step={1}
          value={value.workers}
          onChange={event => onChange({ ...value, workers: event.target.value })}
        />
      </label>
      <label>
        <span>{trans.__('Memory each')}</span>
        <input
          className="jp-mod-styled"
          name="memory"
          type="text"
          placeholder={trans.__('such as 2GB')}
          value={value.memory}
          onChange={event => onChange({ ...value, memory: event.target.value })}
        />
      </label>
      <label>
        <span>{trans.__('GPUs each')}</span>
        <input
          className="jp-mod-styled"
          name="gpus"
          type="number"
          min={0}
          step="any"
          value={value.gpus}
          onChange={event => onChange({ ...value, gpus: event.target.value })}
        />
      </label>
      <label>
        <span>{trans.__('Priority')}</span>
        <select
          className="jp-mod-styled"
          name="priority"
          value={value.priority}
          onChange={event => onChange({ ...value, priority: event.target.value as Priority })}
        >
          <option value="low">{trans.__('low')}</option>
          <option value="normal">{trans.__('normal')}</option>
          <option value="high">{trans.__('high')}</option>
        </select>
      </label>
    </div>
  );
}
