import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../log.ts'

/** The part of a failed request that decides whether it is worth another try. */
export interface RequestFailure {
  /** HTTP status; undefined when no answer came. */
  readonly status?: number
  /** Header names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** The server's own words, or the system's code of a connection that failed. */
  readonly message: string
  /** The request never left this machine. */
  readonly unsent: boolean
}

export type Verdict = { readonly kind: 'final' } | { readonly kind: 'again'; readonly afterMs?: number }

const transient = [408, 500, 502, 503, 504]
const unsentCodes = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'UND_ERR_CONNECT_TIMEOUT']
/** What GitHub asks a client to wait at least after a secondary limit without `retry-after`. */
const secondaryLimitMs = 60_000

/**
 * Reads what octokit throws; undefined for anything else, which is a bug and no reason to try again. A failed
 * connection comes as status 500 without a response, so the response says whether the server answered.
 */
export function requestFailure(thrown: unknown): RequestFailure | undefined {
  if (!(thrown instanceof Error) || !['HttpError', 'AbortError', 'TimeoutError'].includes(thrown.name)) return undefined
  const error = thrown as Error & { response?: { status?: number; headers?: Record<string, string> } }
  const message = error.message.replaceAll(/\s+/g, ' ').slice(0, 300)
  const status = error.response?.status
  if (status !== undefined) return { status, headers: error.response?.headers ?? {}, message, unsent: false }
  return { headers: {}, message, unsent: causes(thrown).some(code => unsentCodes.includes(code)) }
}

function causes(thrown: unknown): string[] {
  const codes: string[] = []
  let at: unknown = thrown
  for (let depth = 0; depth < 5 && at instanceof Error; depth++) {
    const code = (at as { code?: unknown }).code
    if (typeof code === 'string') codes.push(code)
    at = at.cause
  }
  return codes
}

/** A refusal because of too many requests: it was not applied, whatever the method. */
export function isRateLimit(failure: RequestFailure): boolean {
  if (failure.status === 429) return true
  if (failure.status !== 403) return false
  return (
    failure.headers['retry-after'] !== undefined ||
    failure.headers['x-ratelimit-remaining'] === '0' ||
    /secondary rate limit|rate limit exceeded/i.test(failure.message)
  )
}

/**
 * Whether a request may be sent again, and how long the server asks to wait.
 *
 * @param idempotent sending it twice has the effect of sending it once. Where it has not, only a request that
 * certainly had no effect is sent again: refused because of a rate limit, or never sent.
 * @param nowMs epoch milliseconds, for `x-ratelimit-reset`.
 */
export function judge(failure: RequestFailure, idempotent: boolean, nowMs: number): Verdict {
  if (isRateLimit(failure)) {
    const after = Number(failure.headers['retry-after'])
    if (failure.headers['retry-after'] !== undefined && Number.isFinite(after))
      return { kind: 'again', afterMs: Math.max(0, after) * 1000 }
    const reset = Number(failure.headers['x-ratelimit-reset'])
    if (failure.headers['x-ratelimit-remaining'] === '0' && Number.isFinite(reset))
      return { kind: 'again', afterMs: Math.max(0, reset * 1000 - nowMs) }
    return { kind: 'again', afterMs: secondaryLimitMs }
  }
  if (failure.status === undefined) return idempotent || failure.unsent ? { kind: 'again' } : { kind: 'final' }
  return idempotent && transient.includes(failure.status) ? { kind: 'again' } : { kind: 'final' }
}

export interface RetryBudget {
  readonly attempts: number
  /** Milliseconds that all waits of one step together may take. */
  waitMs: number
  /** First pause; doubles with every attempt. */
  readonly firstPauseMs: number
}

/** Five tries from half a second on, and at most two minutes of waiting in one step. */
export const defaultBudget = (): RetryBudget => ({ attempts: 5, waitMs: 120_000, firstPauseMs: 500 })

/**
 * Sends a request, and sends it again as `judge` says while the budget lasts.
 * @throws what the last attempt threw, or the signal's reason.
 */
export async function withRetry<T>(
  request: {
    readonly what: string
    readonly idempotent: boolean
    readonly budget: RetryBudget
    readonly signal: AbortSignal
    readonly log: Log
  },
  send: () => Promise<T>,
): Promise<T> {
  const { what, idempotent, budget, signal, log } = request
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted()
    try {
      return await send()
    } catch (thrown) {
      signal.throwIfAborted()
      const failure = requestFailure(thrown)
      if (failure === undefined) throw thrown
      const verdict = judge(failure, idempotent, Date.now())
      if (verdict.kind === 'final' || attempt >= budget.attempts) throw thrown
      const pause = verdict.afterMs ?? budget.firstPauseMs * 2 ** (attempt - 1)
      const said = `${what}: attempt ${attempt} of ${budget.attempts} failed (${failure.status ?? 'no answer'}: ${failure.message})`
      if (pause > budget.waitMs) {
        log.warning(
          `${said}; the server asks for a pause of ${Math.ceil(pause / 1000)} s, which is more than this step has left`,
        )
        throw thrown
      }
      budget.waitMs -= pause
      log.info(`${said}; again in ${(pause / 1000).toFixed(1)} s`)
      await sleep(pause, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
  }
}
