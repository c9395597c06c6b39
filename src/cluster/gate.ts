import { UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Readiness } from '../stack/spec.ts'
import { pause } from './api.ts'

/** A look soon after the first, for what is about to be true, then no more than one request in five seconds. */
const pollDelaysMs = [500, 1000, 2000]
const steadyMs = 5000
/** What the last look may take beyond the time-out: a cluster that answers at all does so within it. */
const lastLookMs = 5000

/**
 * Asks again and again until a sentence says *ready*: for what no watch can tell (a metrics page, an external metric).
 * The sentence is logged when it changes. A verdict of *failed* ends the wait.
 * @param label what the log and the error call it, e.g. `the external metrics API`
 * @param check is given a signal that aborts with the step, and when its answer would come too late
 * @throws UserError WVA_CHAIN, also at the time-out, with the last sentence as its cause.
 */
export async function pollReady(
  label: string,
  check: (signal: AbortSignal) => Promise<Readiness>,
  options: { timeoutMs: number; next: string; signal: AbortSignal; log: Log },
): Promise<void> {
  const until = performance.now() + options.timeoutMs
  let last = ''
  for (let i = 0; ; i++) {
    const verdict = await look(check, Math.max(until - performance.now(), lastLookMs), options.signal)
    if (verdict?.state === 'ready') return
    if (verdict?.state === 'failed') throw chainBroken(label, verdict.why, verdict.next, verdict.evidence)
    if (verdict !== undefined && verdict.why !== last) options.log.info(`${label}: ${verdict.why}`)
    last = verdict?.why ?? (last || 'there was no answer')
    const delay = pollDelaysMs[i] ?? steadyMs
    const left = until - performance.now()
    if (left <= 0) throw chainBroken(label, `Not ready after ${seconds(options.timeoutMs)}: ${last}.`, options.next)
    await pause(Math.min(delay, left), options.signal)
  }
}

/** One look, undefined when it took too long: a request that hangs, or is repeated, must not outlast the wait. */
async function look<T>(
  check: (signal: AbortSignal) => Promise<T>,
  ms: number,
  signal: AbortSignal,
): Promise<T | undefined> {
  const limit = new AbortController()
  const timer = setTimeout(() => limit.abort(), ms)
  try {
    return await check(AbortSignal.any([signal, limit.signal]))
  } catch (error) {
    signal.throwIfAborted()
    if (!limit.signal.aborted) throw error
    return undefined
  } finally {
    clearTimeout(timer)
  }
}

const seconds = (ms: number): string => `${Math.round(ms / 1000)} s`

/** The failure of one link of the autoscaling chain. */
export const chainBroken = (link: string, why: string, next: string, evidence: readonly string[] = []): UserError =>
  new UserError('WVA_CHAIN', `The autoscaling chain is broken at ${link}.`, {
    why: `${why.charAt(0).toUpperCase()}${why.slice(1)}${why.endsWith('.') ? '' : '.'}`,
    next,
    evidence,
  })
