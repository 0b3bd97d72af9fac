/** All that the panel draws, as one part of the build that is loaded when it is first drawn. */
export { ClusterSection } from '../cluster/ClusterSection';
export { ModelsSection } from '../models/ModelsSection';
export { RunsSection } from '../runs/RunsSection';
export { SlicesSection } from '../slices/SlicesSection';
