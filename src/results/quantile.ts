/**
 * The smallest value at or below which a share `p` (0 to 1) of the values lies: the inverse of the empirical distribution
 * function, one weight per value, without interpolation. Null without data, which is not 0.
 */
export const quantile = (values: readonly number[], p: number): number | null =>
  quantileOfSorted(Float64Array.from(values).sort(), p)

/** The same for values in ascending order. */
export function quantileOfSorted(sorted: Float64Array, p: number): number | null {
  if (sorted.length === 0) return null
  // 0.07 * 100 is 7.000000000000001: the tolerance keeps the rank that was meant.
  const rank = Math.ceil(p * sorted.length - 1e-9)
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1]!
}

/** Arithmetic mean; null without data. */
export const mean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length
