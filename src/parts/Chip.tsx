import * as React from 'react';

/** A state in one word, coloured by what it means. */
export function Chip(props: { label: string; kind: string; title?: string }): React.ReactElement {
  return (
    <span className={`aios-Chip aios-mod-${props.kind}`} title={props.title}>
      {props.label}
    </span>
  );
}
