import { type Failure, UserError } from '../../../src/errors.ts'

/** The failure of what is expected to throw a UserError. */
export async function failureOf(work: () => unknown): Promise<Failure> {
  try {
    await work()
  } catch (error) {
    if (error instanceof UserError) return error.failure
    throw error
  }
  throw new Error('nothing was thrown')
}
