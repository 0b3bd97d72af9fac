import * as React from 'react';

import { Choice } from '../parts/Choice';
import { useServices } from '../parts/services';
import type { CompressRequest } from '../wire';

/** By which of the two measures to compress, and how far; percents, as a person sets them. */
export interface ICompressForm {
  by: 'energy' | 'ratio';
  energy: number;
  ratio: number;
}

export function compressRequestOf(form: ICompressForm): CompressRequest {
  return form.by === 'energy'
    ? { method: 'low_rank', energy: form.energy / 100 }
    : { method: 'low_rank', ratio: form.ratio / 100 };
}

/** How small to make a model: by what to keep of each layer's energy, or of its parameters. */
export function CompressFields(props: {
  value: ICompressForm;
  onChange: (value: ICompressForm) => void;
}): React.ReactElement {
  const { trans } = useServices();
  const { value, onChange } = props;
  const energy = value.by === 'energy';
  const amount = energy ? value.energy : value.ratio;
  return (
    <div className="aios-Form">
      <Choice
        label={trans.__('Keep by')}
        name="by"
        value={value.by}
        options={[
          ['energy', trans.__('energy')],
          ['ratio', trans.__('parameters')]
        ]}
        onChange={by => onChange({ ...value, by })}
      />
      <label>
        <span>{trans.__('Keep %1%', amount)}</span>
        <input
          name="amount"
          type="range"
          min={energy ? 50 : 5}
          max={energy ? 100 : 95}
          step={1}
          value={amount}
          aria-valuetext={`${amount}%`}
          onChange={event => onChange({ ...value, [value.by]: Number(event.target.value) })}
        />
      </label>
      <p className="aios-Faint">
        {energy
          ? trans.__('Low-rank SVD: each layer keeps this share of its squared singular values.')
          : trans.__('Low-rank SVD: each layer keeps at most this share of its parameters.')}
      </p>
    </div>
  );
}
