import * as React from 'react';

/** A labelled field. While what is typed breaks the rule, it says the rule, and a dialog cannot be accepted. */
export function Field(props: {
  label: string;
  /** What may be typed, as a sentence. */
  rule: string;
  value: string;
  onChange: (value: string) => void;
  /** The rule as the browser checks it: a pattern, the least and the most, whether it may be empty. */
  input: React.InputHTMLAttributes<HTMLInputElement> & { name: string };
}): React.ReactElement {
  const [wrong, setWrong] = React.useState(false);
  const id = React.useId();
  return (
    <div className="aios-Field">
      <label>
        <span>{props.label}</span>
        <input
          className="jp-mod-styled"
          {...props.input}
          value={props.value}
          aria-invalid={wrong}
          aria-describedby={wrong ? id : undefined}
          onChange={event => {
            setWrong(!event.target.validity.valid);
            props.onChange(event.target.value);
          }}
        />
      </label>
      {wrong && (
        <p id={id} className="aios-Rule" role="alert">
          {props.rule}
        </p>
      )}
    </div>
  );
}
