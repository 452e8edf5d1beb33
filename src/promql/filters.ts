import type { AdHocVariableFilter } from '@grafana/data';

let withFilters: typeof import('./tree').withFilters | undefined;

/** Loads the parser. It is larger than all the rest of the plugin, and only needed if there are filters. */
export async function loadFilters() {
  ({ withFilters } = await import('./tree'));
}

/** The expression with the filters added to each of its selectors. Call `loadFilters` before. */
export function filtered(expr: string, filters: AdHocVariableFilter[]): string {
  if (filters.length === 0) {
    return expr;
  }
  if (!withFilters) {
    void loadFilters(); // for the next time: Grafana has no way to wait here
    throw new Error('The filters of the dashboard could not be added yet. Try again.');
  }
  return withFilters(expr, filters);
}
