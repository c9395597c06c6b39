/** What a failed step is called in outputs, comments and exit logs. One code per place where a user would look next. */
export const failureCodes = [
  'INPUT',
  'PREFLIGHT',
  'GPU_SHORTAGE',
  'PLATFORM',
  'MODEL_DOWNLOAD',
  'IMAGE_PULL',
  'MODEL_LOAD',
  'GATEWAY',
  'WVA_CHAIN',
  'SMOKE',
  'HARNESS',
  'RESULTS',
  'CANCELLED',
  'LEFTOVERS',
  'LOCKED',
  'INTERNAL',
] as const
export type FailureCode = (typeof failureCodes)[number]

/** The three sentences every failure must have, and the raw lines that prove it. */
export interface Failure {
  readonly code: FailureCode
  /** What went wrong, one sentence. */
  readonly what: string
  /** The probable cause, one sentence. */
  readonly why: string
  /** What the user does next, one sentence. */
  readonly next: string
  /** Foreign text: events, last log lines. Escaped wherever it is shown. */
  readonly evidence: readonly string[]
}

/** A failure that the user can act on. Anything else that is thrown is a bug of ours. */
export class UserError extends Error {
  readonly failure: Failure
  constructor(
    code: FailureCode,
    what: string,
    detail: { why: string; next: string; evidence?: readonly string[]; cause?: unknown },
  ) {
    super(what, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.name = 'UserError'
    this.failure = { code, what, why: detail.why, next: detail.next, evidence: detail.evidence ?? [] }
  }
}

/** Turns anything thrown into a Failure: a UserError keeps its own, an abort is CANCELLED, the rest is INTERNAL. */
export function asFailure(thrown: unknown): Failure {
  if (thrown instanceof UserError) return thrown.failure
  if (isAbort(thrown)) {
    return {
      code: 'CANCELLED',
      what: 'The step was cancelled.',
      why: 'The workflow run was cancelled, timed out, or the process received a signal.',
      next: 'Run the job again; what was already measured is kept in the artifacts.',
      evidence: [],
    }
  }
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  return {
    code: 'INTERNAL',
    what: `Unexpected error: ${error.message.slice(0, 500)}`,
    why: 'This is a bug in bench-action, not in your configuration.',
    next: 'Open an issue with the log of this step; run again with debug logging for the stack trace.',
    evidence: (error.stack ?? '').split('\n').slice(0, 12),
  }
}

export function isAbort(thrown: unknown): boolean {
  return thrown instanceof Error && (thrown.name === 'AbortError' || thrown.name === 'CancelledError')
}
