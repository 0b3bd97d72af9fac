import * as React from 'react';

/** A labelled choice of one of some texts. */
export function Choice<T extends string>(props: {
  label: string;
  name: string;
  value: T;
  /** What may be chosen, each with how it is shown. */
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}): React.ReactElement {
  return (
    <label>
      <span>{props.label}</span>
      <select
        className="jp-mod-styled"
        name={props.name}
        value={props.value}
        onChange={event => props.onChange(event.target.value as T)}
      >
        {props.options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}
