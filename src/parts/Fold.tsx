import * as React from 'react';

/** A part that can be folded away; what is inside is made only while it is open. */
export function Fold(props: {
  title: string;
  /** Whether it is open at first; with `follow`, until somebody folds or opens it. */
  open: boolean;
  follow?: boolean;
  kind?: string;
  children: React.ReactNode;
}): React.ReactElement {
  const [first] = React.useState(props.open);
  const [chosen, choose] = React.useState<boolean | null>(null);
  const open = chosen ?? (props.follow ? props.open : first);
  return (
    <details
      className={props.kind ? `aios-Fold aios-mod-${props.kind}` : 'aios-Fold'}
      open={open}
      onToggle={event => {
        // this event also comes after a change that nobody made by hand
        if (event.currentTarget.open !== open) {
          choose(event.currentTarget.open);
        }
      }}
    >
      <summary>{props.title}</summary>
      {open && props.children}
    </details>
  );
}
