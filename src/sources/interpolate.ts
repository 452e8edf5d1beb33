/**
 * A number of a query, which may be saved as text with variables. A text that is no number is kept: the error of the
 * back end names the field.
 */
export function toNumber(saved: number | string, replace: (text: string) => string): number | string {
  const value = typeof saved === 'string' ? replace(saved) : saved;
  return typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value)) ? Number(value) : value;
}

/** Whether the text has a variable of the dashboard, so that only its value decides what the text means. */
export const hasVariable = (text: string) => /\$\w|\$\{\w|\[\[\w/.test(text);
