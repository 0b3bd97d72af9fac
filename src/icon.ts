import { LabIcon } from '@jupyterlab/ui-components';

// A whole, divided: one slice of it stands out.
const svgstr = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M11 4.06V13h8.94A8.5 8.5 0 1 1 11 4.06zM9 6.35A6.5 6.5 0 1 0 17.65 15H9z"/>
    <path d="M13 2a9 9 0 0 1 9 9h-9z"/>
  </g>
</svg>`;

export const aiosIcon = new LabIcon({ name: 'aios-lab:slice', svgstr });
