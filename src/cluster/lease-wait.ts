import type { UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { KubeObject } from '../stack/kube.ts'
import { nextStep, type QueueTiming, type Step, withTicket } from '../stack/lease-queue.ts'
import {
  type Claim,
  claimed,
  emptyRecord,
  type LeaseRecord,
  leaseObject,
  readRecord,
  type Ticket,
  withQueue,
} from '../stack/lease-record.ts'
import { type Api, pause } from './api.ts'
import { explainApiError, isConflict, isNotFound } from './api-error.ts'
import { mayPass, writeTimeoutMs } from './lease-holding.ts'
import { heldSince, type LeaseRef, leaseName, locked } from './lease-locked.ts'
import { create, get, replace } from './objects.ts'
import { Observer } from './observer.ts'

export interface WaitOptions extends Claim {
  readonly wait: boolean
  /** How long to wait, ms: from the start, or by a function of its planned end (epoch s) from when a holder was first seen. */
  readonly timeoutMs: number | ((holderPlannedEnd: number | undefined) => number)
  readonly timing: QueueTiming
  readonly signal: AbortSignal
  readonly log: Log
}
export interface Claimed {
  readonly live: KubeObject
  /** `performance.now()` when the write left. */
  readonly sentAt: number
}

const firstRetryMs = 100
const slowestRetryMs = 5000
const withdrawMs = 2000
const shortestPauseMs = 50

/** Waits for one Lease until it is taken, the time is up, or the signal aborts. */
export async function claimLease(api: Api, ref: LeaseRef, options: WaitOptions): Promise<Claimed> {
  const waiting = new Waiting(api, ref, options)
  try {
    return await waiting.run()
  } catch (error) {
    await waiting.withdraw()
    throw error
  } finally {
    await waiting.close()
  }
}

/** The same object before a change that is known already: a watch may be slower than the answer to an own write. */
function isOlder(seen: KubeObject | undefined, known: KubeObject | undefined): boolean {
  if (seen === undefined || seen.metadata.uid !== known?.metadata.uid) return false
  return Number(seen.metadata.resourceVersion) < Number(known?.metadata.resourceVersion)
}

class Waiting {
  readonly #api: Api
  readonly #ref: LeaseRef
  readonly #options: WaitOptions
  #observer: Observer | undefined
  #live: KubeObject | undefined
  #record: LeaseRecord | undefined
  /** Of the last Lease that was seen: a deletion must not lose the queue. */
  #tickets: readonly Ticket[] = []
  /** Which renewal `#sinceMs` is the first sighting of. */
  #sighting = ''
  #sinceMs = 0
  #at: number | undefined
  #changed = false
  #synced = false
  #deadlineMs = Number.POSITIVE_INFINITY
  #deadlineOf: string | undefined
  #said = ''
  #retryMs = firstRetryMs

  constructor(api: Api, ref: LeaseRef, options: WaitOptions) {
    this.#api = api
    this.#ref = ref
    this.#options = options
  }

  async run(): Promise<Claimed> {
    const { wait, holder, signal } = this.#options
    await this.#read()
    for (;;) {
      signal.throwIfAborted()
      const nowMs = this.#api.serverNow()
      this.#at ??= nowMs
      this.#setDeadline(nowMs)
      const situation = { record: this.#record, tickets: this.#tickets, me: holder, nowMs, sinceMs: this.#sinceMs }
      const step = nextStep(situation, this.#options.timing)
      if (step.kind === 'take' || step.kind === 'create') {
        const before = this.#record ?? { ...emptyRecord, tickets: this.#tickets }
        const record = claimed(before, this.#options, nowMs)
        const taken = await this.#write(leaseObject(record, this.#ref, this.#live))
        if (taken) return taken
        if (this.#api.serverNow() >= this.#deadlineMs)
          throw this.#locked('The API server did not let this step take it.')
        continue
      }
      if (!wait) throw this.#locked('This step does not wait (lock: fail).')
      if (nowMs >= this.#deadlineMs) throw this.#locked(`Waited ${Math.round((nowMs - this.#at) / 1000)} s for it.`)
      this.#say(step)
      if (step.kind === 'wait') await this.#pause(Math.min(step.untilMs, this.#deadlineMs) - nowMs)
      else if (this.#live) await this.#refreshTicket(this.#live, this.#at, nowMs)
    }
  }

  /** Leaves the queue, so that those behind need not wait until the ticket is dropped. One try. */
  async withdraw(): Promise<void> {
    const mine = (ticket: Ticket) => ticket.holder === this.#options.holder
    if (!this.#record?.tickets.some(mine)) return
    const signal = AbortSignal.timeout(withdrawMs)
    try {
      const live = await get(this.#api, 'Lease', this.#ref.namespace, this.#ref.name, signal)
      if (live === undefined) return
      const tickets = readRecord(live).tickets.filter(ticket => !mine(ticket))
      await replace(this.#api, withQueue(live, tickets), signal)
    } catch (error) {
      this.#options.log.debug(`the ticket stays in ${leaseName(this.#ref)}: ${(error as Error).message}`)
    }
  }

  async close(): Promise<void> {
    await this.#observer?.close()
  }

  #see(live: KubeObject | undefined): void {
    const nowMs = this.#api.serverNow()
    this.#live = live
    this.#record = live && readRecord(live)
    if (this.#record) this.#tickets = this.#record.tickets
    const { holder, renewedMs } = this.#record ?? {}
    const sighting = live ? `${live.metadata.uid} ${renewedMs} ${holder}` : 'none'
    if (sighting !== this.#sighting) this.#sinceMs = nowMs
    this.#sighting = sighting
  }

  async #read(): Promise<void> {
    const { wait, signal } = this.#options
    try {
      this.#see(await get(this.#api, 'Lease', this.#ref.namespace, this.#ref.name, signal))
    } catch (error) {
      signal.throwIfAborted()
      // Nothing is known yet, or nobody wants to wait until the server is back.
      if (!mayPass(error) || !wait || this.#sighting === '')
        throw explainApiError(error, `reading ${leaseName(this.#ref)}`)
      this.#options.log.debug(`${leaseName(this.#ref)}: ${(error as Error).message}`)
    }
  }

  /** Writes a change of the last view of the Lease. Undefined when that did not work and it was read again. */
  async #write(object: KubeObject): Promise<Claimed | undefined> {
    const { signal, durationSeconds } = this.#options
    const timeout = AbortSignal.any([signal, AbortSignal.timeout(writeTimeoutMs(durationSeconds))])
    let retryMs = this.#retryMs
    const sentAt = performance.now()
    try {
      const live = await (this.#live ? replace(this.#api, object, timeout) : create(this.#api, object, timeout))
      this.#see(live)
      this.#retryMs = firstRetryMs
      return { live, sentAt }
    } catch (error) {
      signal.throwIfAborted()
      const gone = isNotFound(error)
      // A conflict means that somebody else got on: no reason to become slower.
      if (isConflict(error)) retryMs = firstRetryMs
      else this.#retryMs = Math.min(this.#retryMs * 2, slowestRetryMs)
      if (!mayPass(error) || (gone && !this.#live)) throw explainApiError(error, `taking ${leaseName(this.#ref)}`)
      this.#options.log.debug(`${leaseName(this.#ref)}: ${(error as Error).message}; reading it again`)
    }
    await pause(retryMs * (0.5 + Math.random() / 2), signal)
    await this.#read()
    return undefined
  }

  async #refreshTicket(live: KubeObject, at: number, seen: number): Promise<void> {
    const { holder, timing } = this.#options
    await this.#write(withQueue(live, withTicket(this.#tickets, { holder, at, seen }, timing.ticketMs)))
  }

  /** Until the Lease changes, told by a watch on its name, or the time has come to look at the clock again. */
  async #pause(ms: number): Promise<void> {
    const observer = this.#observe()
    let rung = false
    const timer = setTimeout(
      () => {
        rung = true
        observer.poke()
      },
      Math.min(Math.max(ms, shortestPauseMs), 2 ** 31 - 1),
    )
    try {
      await observer.until(() => this.#changed || rung || undefined, {
        timeoutMs: Number.POSITIVE_INFINITY,
        onTimeout: () => new Error(`nothing was heard of ${leaseName(this.#ref)}`),
      })
    } catch (error) {
      throw explainApiError(error, `watching ${leaseName(this.#ref)}`)
    } finally {
      clearTimeout(timer)
    }
    // Without news, and before its first list, the watch knows less than the last answer did.
    const seen = observer.view.get('Lease', this.#ref.name)
    if (this.#changed && this.#synced && !isOlder(seen, this.#live)) this.#see(seen)
    this.#changed = false
  }

  #observe(): Observer {
    if (this.#observer) return this.#observer
    const observer = new Observer(this.#api, this.#ref.namespace, this.#options.log, this.#options.signal)
    this.#observer = observer
    const changed = () => {
      this.#changed = true
    }
    observer.watch('Lease', { fieldSelector: `metadata.name=${this.#ref.name}`, onChange: changed }).then(
      () => {
        this.#synced = true
        changed()
        observer.poke()
      },
      // The wait rejects with the same error.
      () => undefined,
    )
    return observer
  }

  #setDeadline(nowMs: number): void {
    const { timeoutMs } = this.#options
    const { holder, plannedEnd } = this.#record ?? {}
    const of = typeof timeoutMs === 'number' ? '' : `${holder} ${plannedEnd}`
    // Without a holder the time that the last one was given runs on.
    if (of === this.#deadlineOf || (holder === undefined && this.#deadlineOf !== undefined)) return
    this.#deadlineOf = of
    this.#deadlineMs = nowMs + (typeof timeoutMs === 'number' ? timeoutMs : timeoutMs(plannedEnd))
  }

  #locked(why: string): UserError {
    const before = this.#record?.holder === undefined ? ' Others were before it in the queue.' : ''
    return locked(this.#ref, this.#record, why + before)
  }

  #say({ place, waiting }: Step): void {
    const who =
      this.#record?.holder === undefined
        ? 'free, others are first'
        : `held by ${this.#record.holder}${heldSince(this.#record)}`
    const line = `waiting for ${leaseName(this.#ref)}: ${who}; place ${place + 1} of ${waiting} in the queue`
    if (line !== this.#said) this.#options.log.info(line)
    this.#said = line
  }
}
