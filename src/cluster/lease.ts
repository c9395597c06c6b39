import type { Log } from '../log.ts'
import { type QueueTiming, queueTiming } from '../stack/lease-queue.ts'
import {
  expiryMs,
  isLeaseText,
  leaseObject,
  maxDurationSeconds,
  type PreviousStack,
  readRecord,
} from '../stack/lease-record.ts'
import { type Api, pause } from './api.ts'
import { explainApiError } from './api-error.ts'
import { type HeldLease, Holding, mayPass, writeTimeoutMs } from './lease-holding.ts'
import { type LeaseRef, leaseName, locked } from './lease-locked.ts'
import { claimLease } from './lease-wait.ts'
import { get, replace } from './objects.ts'

export type { HeldLease } from './lease-holding.ts'
export type { LeaseRef } from './lease-locked.ts'

export interface ResumeOptions {
  /** Who this is, the same for all attempts and steps: `owner/repo/123/wva`. At most 300 printable characters. */
  readonly holder: string
  /** How long the Lease lasts without a renewal; 60 by default. */
  readonly durationSeconds?: number
  /** 15 s by default; leave room for a few that fail. */
  readonly renewEveryMs?: number
  /** When the holder plans to be done, epoch seconds; told to those who wait. */
  readonly plannedEnd?: number
  readonly timing?: Partial<QueueTiming>
  readonly signal: AbortSignal
  readonly log: Log
}

export interface LeaseOptions extends ResumeOptions {
  /** Names what the holder will build, for whoever has to clear it after the holder died. */
  readonly stack: string
  /** False: fail at once when somebody else has the Lease, or is first in the queue for it. */
  readonly wait: boolean
  /**
   * How long to wait in ms. A number counts from the beginning, a function's result from when a holder with that planned
   * end (epoch s) was first seen; by default until the planned end and 30 minutes more.
   */
  readonly timeoutMs?: number | ((holderPlannedEnd: number | undefined) => number)
  /** Removes the stack that a dead holder left; the Lease is renewed meanwhile, and `signal` aborts when it is lost. */
  readonly onTakeover: (previous: PreviousStack, signal: AbortSignal) => Promise<void>
}

export interface LeaseView {
  readonly holder: string | undefined
  readonly stack: string | undefined
  /** Left by dead holders, still to be removed. */
  readonly toClear: readonly PreviousStack[]
  readonly plannedEnd: number | undefined
  /** Nobody holds it any more: it may be taken. */
  readonly expired: boolean
  /** A step is running now and renews it. */
  readonly active: boolean
}

const defaults = { durationSeconds: 60, renewEveryMs: 15_000 }
const patienceMs = 30 * 60_000
const resumeAttempts = 8
const resumeRetryMs = 250

/**
 * Takes a Lease, waiting for it if need be, and renews it until `keep`, `release` or `close`. At most one holder owns it at
 * a time, as long as clocks of API servers agree to within `timing.marginMs` and a tenth of the duration. Times in it are the
 * API server's, so runners with wrong clocks agree. A holder that has it already gets it at once. Whoever takes a Lease that
 * has run out first clears what its holder left (`onTakeover`); when that fails the Lease is given back with this duty.
 *
 * Verbs on leases.coordination.k8s.io: get list watch create update delete.
 * @throws UserError LOCKED when it was not free in time, or was lost while clearing; PREFLIGHT when a right is missing.
 */
export async function acquireLease(api: Api, ref: LeaseRef, options: LeaseOptions): Promise<HeldLease> {
  const { holder, stack, log } = options
  if (!isLeaseText(holder) || !isLeaseText(stack))
    throw new Error('holder and stack of a Lease must be short plain text')
  const settings = { ...defaults, ...options }
  const { live, sentAt } = await claimLease(api, ref, {
    ...settings,
    plannedEnd: options.plannedEnd,
    timeoutMs: options.timeoutMs ?? untilPlannedEnd(api),
    timing: { ...queueTiming, ...options.timing },
  })
  const held = new Holding(api, ref, settings, live, sentAt)
  const { toClear } = held.record
  if (toClear.length === 0) return held
  const signal = AbortSignal.any([options.signal, held.lost])
  try {
    for (const previous of toClear) {
      log.info(`${leaseName(ref)} was left behind: removing ${previous.stack} of ${previous.holder} first`)
      await options.onTakeover(previous, signal)
      signal.throwIfAborted()
    }
    await held.update(record => ({ ...record, stack, toClear: [] }))
    return held
  } catch (error) {
    if (held.lost.aborted) throw held.lost.reason
    await held.giveBack()
    throw error
  }
}

/** A planned end comes from the cluster: it buys no more than the longest time that a Lease may last. */
const untilPlannedEnd = (api: Api) => (plannedEnd: number | undefined) =>
  patienceMs +
  (plannedEnd === undefined ? 0 : Math.min(maxDurationSeconds * 1000, Math.max(0, plannedEnd * 1000 - api.serverNow())))

/**
 * Takes up renewing a Lease that an earlier step of the same holder kept; with `idleOnly` not while one of them runs. One that ran out meanwhile, and that nobody
 * took, is still ours. Verbs on leases.coordination.k8s.io: get update; for what follows, delete.
 * @throws UserError LOCKED when somebody else holds it, nobody does, or the earlier step did not finish taking over.
 */
export async function resumeLease(
  api: Api,
  ref: LeaseRef,
  options: ResumeOptions & { readonly idleOnly?: boolean },
): Promise<HeldLease> {
  const settings = { ...defaults, ...options }
  const { signal } = options
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted()
    const timeout = AbortSignal.any([signal, AbortSignal.timeout(writeTimeoutMs(settings.durationSeconds))])
    try {
      const live = await get(api, 'Lease', ref.namespace, ref.name, timeout)
      const record = live && readRecord(live)
      if (!live || record?.holder !== options.holder)
        throw locked(ref, record, `${options.holder} held it when its stack was built, and has lost it since.`)
      if (
        options.idleOnly &&
        record.running &&
        api.serverNow() <= expiryMs(record, api.serverNow(), queueTiming.marginMs)
      )
        throw locked(ref, record, 'A step of it runs at this moment.')
      if (record.toClear.length > 0)
        throw locked(ref, record, `It took the Lease over, but has not removed ${record.toClear[0]?.stack} yet.`)
      const sentAt = performance.now()
      const next = {
        ...record,
        running: true,
        renewedMs: api.serverNow(),
        durationSeconds: settings.durationSeconds,
        plannedEnd: options.plannedEnd ?? record.plannedEnd,
      }
      return new Holding(api, ref, settings, await replace(api, leaseObject(next, ref, live), timeout), sentAt)
    } catch (error) {
      signal.throwIfAborted()
      if (attempt >= resumeAttempts || !mayPass(error)) throw explainApiError(error, `renewing ${leaseName(ref)}`)
    }
    await pause(resumeRetryMs * attempt, signal)
  }
}

/** What a Lease says now; undefined when there is none. Verb on leases.coordination.k8s.io: get. */
export async function readLease(
  api: Api,
  ref: Pick<LeaseRef, 'namespace' | 'name'>,
  options: { timing?: Partial<QueueTiming>; signal?: AbortSignal } = {},
): Promise<LeaseView | undefined> {
  const live = await get(api, 'Lease', ref.namespace, ref.name, options.signal)
  if (live === undefined) return undefined
  const { holder, stack, toClear, plannedEnd, ...record } = readRecord(live)
  const nowMs = api.serverNow()
  const { marginMs } = { ...queueTiming, ...options.timing }
  const expired =
    holder === undefined || nowMs > expiryMs({ ...record, holder, stack, toClear, plannedEnd }, nowMs, marginMs)
  return { holder, stack, toClear, plannedEnd, expired, active: record.running && !expired }
}
