import * as React from 'react';

/** A part that can be folded away; what is inside is made only while it is open. */
export function Fold(props: {
  title: string;
  open: boolean;
  kind?: string;
  children: React.ReactNode;
}): React.ReactElement {
  const [open, setOpen] = React.useState(props.open);
  return (
    <details
      className={props.kind ? `aios-Fold aios-mod-${props.kind}` : 'aios-Fold'}
      open={open}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary>{props.title}</summary>
      {open && props.children}
    </details>
  );
}
