// One line per source. Nothing else in the front end refers to a source: to remove it, delete its line and its folder.
export { metricsAPI } from './metricsapi';
export { prometheus } from './prometheus';
export { recorder } from './recorder';
export { signal } from './signal';
