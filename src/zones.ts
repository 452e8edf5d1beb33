/** The IANA name of a time zone as Grafana has it, where `browser` and none mean the browser's own. */
export function ianaName(timezone?: string): string {
  if (timezone === 'utc') {
    return 'UTC';
  }
  return timezone && timezone !== 'browser' ? timezone : Intl.DateTimeFormat().resolvedOptions().timeZone;
}
