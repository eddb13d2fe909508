export { dashboards } from './dashboards/index.ts';
export { promExpressions, toGrafana, type Dashboard, type Panel } from './dashboard.ts';
export { familyOf, metricsIn, withoutMacros } from './metrics-in.ts';
export { hasPromtool, promtool } from './promtool.ts';
export { prometheusFolder, readRules, type Rule } from './rules.ts';
