import { asFailure, UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { KubeObject } from '../stack/kube.ts'
import { type LeaseRecord, leaseObject, maxDurationSeconds, readRecord } from '../stack/lease-record.ts'
import { type Api, pause } from './api.ts'
import { ApiError, explainApiError, isConflict, isNotFound, isTransient } from './api-error.ts'
import { type LeaseRef, leaseName } from './lease-locked.ts'
import { get, remove, replace } from './objects.ts'

export interface HeldLease {
  /** Aborts when somebody else may own the Lease: whoever holds this stops touching the stack at once. */
  readonly lost: AbortSignal
  /**
   * The clean end of a step: the Lease stays ours for this long without renewal, then others may take it.
   * @throws UserError LOCKED when it was lost before.
   */
  keep(durationSeconds: number): Promise<void>
  /** Deletes the Lease: the stack is gone. False when it is no longer ours; then nothing is deleted. */
  release(): Promise<boolean>
  /** Stops renewing and writes nothing: the Lease runs out by itself. */
  close(): void
}

/** This part of the duration is not used by the holder: it has stopped before anybody may begin. */
const unusedPart = 0.1
const firstRetryMs = 100

/** What repeating can mend: somebody was faster, the answer is missing, the server is busy. */
export const mayPass = (error: unknown): boolean =>
  isConflict(error) ||
  isNotFound(error) ||
  isTransient(error) ||
  (error instanceof ApiError && error.status === 0) ||
  (error as { name?: unknown } | undefined)?.name === 'TimeoutError'
/** A request of a lease that hangs must not eat up the lease. */
export const writeTimeoutMs = (durationSeconds: number): number =>
  Math.min(20_000, Math.round((durationSeconds * 1000) / 3))

/** A Lease that is ours, and the timer that keeps it so. */
export class Holding implements HeldLease {
  readonly #api: Api
  readonly #ref: LeaseRef
  readonly #holder: string
  readonly #renewEveryMs: number
  readonly #log: Log
  readonly #lost = new AbortController()
  /** Ends requests under way, for `close`. */
  readonly #stop = new AbortController()
  #durationSeconds: number
  #live: KubeObject
  #renewTimer: NodeJS.Timeout | undefined
  #lostTimer: NodeJS.Timeout | undefined
  #renewing = true
  /** One write at a time: each needs the resource version of the one before. */
  #last: Promise<unknown> = Promise.resolve()

  /** `live` is the object as the server answered to a write that left at `sentAt` (`performance.now()`). */
  constructor(
    api: Api,
    ref: LeaseRef,
    options: { holder: string; durationSeconds: number; renewEveryMs: number; log: Log },
    live: KubeObject,
    sentAt: number,
  ) {
    this.#api = api
    this.#ref = ref
    this.#holder = options.holder
    this.#durationSeconds = options.durationSeconds
    this.#renewEveryMs = options.renewEveryMs
    this.#log = options.log
    this.#live = live
    this.#owned(sentAt)
    this.#schedule()
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }
  get record(): LeaseRecord {
    return readRecord(this.#live)
  }

  /** Writes a change of the record, renewing it. @throws UserError LOCKED when the Lease is lost, or before it is written. */
  update(change: (record: LeaseRecord) => LeaseRecord): Promise<void> {
    const write = this.#last.then(() => this.#write(change))
    this.#last = write.catch(() => undefined)
    return write
  }

  async keep(durationSeconds: number): Promise<void> {
    this.#endRenewing()
    const whole = Math.min(maxDurationSeconds, Math.max(1, Math.ceil(durationSeconds)))
    await this.update(record => ({ ...record, running: false, durationSeconds: whole }))
    this.close()
  }

  async release(): Promise<boolean> {
    this.#endRenewing()
    await this.#last
    try {
      while (!this.lost.aborted) {
        if (await remove(this.#api, this.#live, { unchanged: true })) return true
        const live = await this.#read()
        if (live === undefined) return true
        if (readRecord(live).holder !== this.#holder) return false
        this.#live = live
      }
      return false
    } finally {
      this.close()
    }
  }

  /**
   * Gives the Lease up with its duties: the next one finds it free, and clears what is still to be cleared. When that
   * cannot be written, the Lease runs out with the same effect.
   */
  async giveBack(): Promise<void> {
    this.#endRenewing()
    await this.update(record => ({ ...record, holder: undefined, stack: undefined, running: false })).catch(error =>
      this.#log.warning(
        `${leaseName(this.#ref)} could not be given back: ${asFailure(error).what} It runs out by itself.`,
      ),
    )
    this.close()
  }

  close(): void {
    this.#endRenewing()
    clearTimeout(this.#lostTimer)
    this.#stop.abort()
  }

  #endRenewing(): void {
    this.#renewing = false
    clearTimeout(this.#renewTimer)
  }

  #schedule(): void {
    if (!this.#renewing || this.lost.aborted) return
    this.#renewTimer = setTimeout(async () => {
      try {
        await this.update(record => record)
      } catch (error) {
        if (this.#renewing && !this.lost.aborted)
          this.#log.warning(`${leaseName(this.#ref)} was not renewed: ${asFailure(error).what}`)
      }
      this.#schedule()
    }, this.#renewEveryMs)
    this.#renewTimer.unref()
  }

  /** A write that left at `sentAt` was carried out: counted from there on the own clock, whatever the server's says. */
  #owned(sentAt: number): void {
    clearTimeout(this.#lostTimer)
    const until = sentAt + this.#durationSeconds * 1000 * (1 - unusedPart)
    const why = `It could not be renewed for ${Math.round(this.#durationSeconds * (1 - unusedPart))} s.`
    this.#lostTimer = setTimeout(() => this.#lose(why), Math.max(0, until - performance.now()))
    this.#lostTimer.unref()
  }

  #lose(why: string): UserError {
    const error = new UserError('LOCKED', `${leaseName(this.#ref)} was lost.`, {
      why,
      next: 'Run again; if the API server was not reachable from the runner, look at the network between them first.',
    })
    this.close()
    this.#lost.abort(error)
    return error
  }

  #read(): Promise<KubeObject | undefined> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(writeTimeoutMs(this.#durationSeconds))])
    return get(this.#api, 'Lease', this.#ref.namespace, this.#ref.name, signal)
  }

  async #write(change: (record: LeaseRecord) => LeaseRecord): Promise<void> {
    for (let retryMs = firstRetryMs; ; retryMs = Math.min(retryMs * 2, this.#renewEveryMs)) {
      this.lost.throwIfAborted()
      this.#stop.signal.throwIfAborted()
      const sentAt = performance.now()
      const next = { ...change(this.record), renewedMs: this.#api.serverNow() }
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(writeTimeoutMs(this.#durationSeconds))])
      try {
        this.#live = await replace(this.#api, leaseObject(next, this.#ref, this.#live), signal)
        this.#owned(sentAt)
        return
      } catch (error) {
        this.lost.throwIfAborted()
        this.#stop.signal.throwIfAborted()
        if (!mayPass(error)) throw explainApiError(error, `renewing ${leaseName(this.#ref)}`)
        this.#log.debug(`${leaseName(this.#ref)}: ${(error as Error).message}; reading it again`)
      }
      // First the pause, then the read: what was read before it would be old again where many wait and write their tickets.
      await pause(retryMs * (0.5 + Math.random() / 2), AbortSignal.any([this.lost, this.#stop.signal]))
      await this.#readAgain()
    }
  }

  /** Finds out whether the Lease is still ours; the write may also have been carried out. */
  async #readAgain(): Promise<void> {
    let live: KubeObject | undefined
    try {
      live = await this.#read()
    } catch (failure) {
      this.lost.throwIfAborted()
      this.#stop.signal.throwIfAborted()
      if (!mayPass(failure)) throw explainApiError(failure, `reading ${leaseName(this.#ref)}`)
      return
    }
    if (live === undefined) throw this.#lose('Somebody deleted it.')
    const { holder, transitions } = readRecord(live)
    if (holder !== this.#holder) throw this.#lose(`It is now held by ${holder ?? 'nobody'}.`)
    // Our name again, but others had it in between, and have removed the stack.
    if (live.metadata.uid !== this.#live.metadata.uid || transitions !== this.record.transitions)
      throw this.#lose('Another attempt of the same holder took it anew after it had been lost.')
    this.#live = live
  }
}
