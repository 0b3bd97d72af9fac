import * as React from 'react';

/** How full something is, with the amount in words beside its name. */
export function Gauge(props: {
  label: string;
  text: string;
  /** 0 to 100 */
  percent: number;
  title?: string;
}): React.ReactElement {
  const percent = Math.round(props.percent);
  return (
    <div className="aios-Gauge" title={props.title}>
      <div className="aios-Gauge-text">
        <span className="aios-Gauge-label">{props.label}</span>
        <span className="aios-Gauge-value">{props.text}</span>
      </div>
      <div
        className="aios-Bar"
        role="meter"
        aria-label={props.label}
        aria-valuenow={percent}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuetext={props.text}
      >
        <div
          className={percent >= 90 ? 'aios-Bar-fill aios-mod-full' : 'aios-Bar-fill'}
          style={{ width: `${percent}%` }}
        />
      </div>
    </div>
  );
}

/** How far work has come; null when nobody knows. */
export function Progress(props: {
  label: string;
  /** 0 to 1 */
  fraction: number | null;
  kind: string;
}): React.ReactElement {
  const { fraction } = props;
  const percent = fraction === null ? null : Math.round(Math.min(1, Math.max(0, fraction)) * 100);
  const fill = percent === null ? 'aios-Bar-fill aios-mod-unknown' : 'aios-Bar-fill';
  return (
    <div
      className={`aios-Bar aios-Progress aios-mod-${props.kind}`}
      role="progressbar"
      aria-label={props.label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent ?? undefined}
    >
      <div className={fill} style={percent === null ? undefined : { width: `${percent}%` }} />
    </div>
  );
}
