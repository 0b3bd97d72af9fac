/** What the server can send. */
export const TOPICS = ['status', 'cluster', 'slices', 'runs', 'models', 'jobs'] as const;
export type Topic = (typeof TOPICS)[number];
