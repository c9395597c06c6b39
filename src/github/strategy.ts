/** GitHub starts at most this many jobs from one matrix. */
const maxJobs = 256

/**
 * How many legs one comment will have, from what the runner knows of the matrix: every one of its jobs is a leg.
 *
 * @param strategy `toJSON(strategy)`, parsed or not.
 * @param matrix `toJSON(matrix)` of this job, parsed or not.
 * @param ofKey inputs that decide which comment a job writes into. A matrix over one of them is spread over several
 * comments, and how many jobs write into this one cannot be seen from inside of a job.
 * @returns 1 to 256; undefined where it is not known, which is never an error.
 */
export function expectedLegs(strategy: unknown, matrix: unknown, ofKey: readonly string[]): number | undefined {
  const total = fieldsOf(strategy)['job-total']
  if (typeof total !== 'number' || !Number.isInteger(total) || total < 1 || total > maxJobs) return undefined
  const spread = Object.values(fieldsOf(matrix)).some(value => typeof value === 'string' && ofKey.includes(value))
  return spread ? undefined : total
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'string') {
    try {
      return fieldsOf(JSON.parse(value) as object)
    } catch {
      return {}
    }
  }
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}
