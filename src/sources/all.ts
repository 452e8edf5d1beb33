// One line a source. Without its line and its folder nothing else knows of it.
export { metricsAPI } from './metricsapi';
export { prometheus } from './prometheus';
export { recorder } from './recorder';
export { signal } from './signal';
