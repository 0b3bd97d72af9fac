import * as React from 'react';

import { useServices } from '../parts/services';

/** The name under which a model is registered. */
export function RegisterFields(props: {
  value: string;
  onChange: (value: string) => void;
}): React.ReactElement {
  const { trans } = useServices();
  return (
    <div className="aios-Form">
      <label>
        <span>{trans.__('Name')}</span>
        <input
          className="jp-mod-styled"
          name="name"
          type="text"
          maxLength={128}
          value={props.value}
          onChange={event => props.onChange(event.target.value)}
        />
      </label>
      <p className="aios-Faint">{trans.__('A name that is taken gets a new version.')}</p>
    </div>
  );
}
