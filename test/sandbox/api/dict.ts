/** Parsed JSON whose shape is not known. */
export type Dict = Record<string, unknown>
export const dict = (value: unknown): Dict => (typeof value === 'object' && value !== null ? (value as Dict) : {})
export const dicts = (value: unknown): Dict[] => (Array.isArray(value) ? value.map(dict) : [])
