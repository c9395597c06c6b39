import { setTimeout as delay } from 'node:timers/promises'
import { ApiStatusError } from '../runtime.ts'

/** One request as the server saw it. `status` 0: not answered (yet), 101: an exec session. */
export interface RecordedRequest {
  method: string
  path: string
  /** Repeated parameters keep their last value; `command` of an exec is all words joined by a space. */
  query: Record<string, string>
  /** Empty when the token was not known. */
  user: string
  userAgent: string
  body: string
  status: number
  /** ms since the epoch. */
  at: number
}

export interface Fault {
  match(request: RecordedRequest): boolean
  /** Answer with this status instead; 429 and 503 may carry `retryAfter` in seconds. */
  status?: number
  reason?: string
  message?: string
  retryAfter?: number
  delayMs?: number
  dropConnection?: boolean
  /** Carry the request out, then break the connection instead of answering. */
  dropAnswer?: boolean
  /** How often it strikes; without it, always. */
  times?: number
}

/** What goes wrong on purpose. */
export class Faults {
  /** Thrown to break the connection without an answer. */
  static readonly dropped = new Error('connection dropped on purpose')
  /** Added to every request. */
  latencyMs = 0
  /** Cuts all watches and exec sessions, as a restarting server does. */
  readonly dropWatches: () => void
  /** Forgets history: the next watch or page from an older version gets 410. */
  readonly compact: () => void
  readonly #faults = new Set<{ fault: Fault; left: number }>()

  constructor(hooks: { dropStreams(): void; compact(): void }) {
    this.dropWatches = hooks.dropStreams
    this.compact = hooks.compact
  }

  /** Returns how to take the fault away again. */
  add(fault: Fault): () => void {
    const entry = { fault, left: fault.times ?? Number.POSITIVE_INFINITY }
    this.#faults.add(entry)
    return () => this.#faults.delete(entry)
  }
  clear(): void {
    this.#faults.clear()
    this.latencyMs = 0
  }

  /** Delays, refuses or breaks a request if a fault is due for it. True: its answer is to be lost. */
  async strike(request: RecordedRequest): Promise<boolean> {
    let answerLost = false
    if (this.latencyMs > 0) await delay(this.latencyMs)
    for (const entry of this.#faults) {
      if (!entry.fault.match(request)) continue
      if (--entry.left <= 0) this.#faults.delete(entry)
      const { delayMs = 0, dropConnection, status, message = 'injected by a test', reason, retryAfter } = entry.fault
      if (delayMs > 0) await delay(delayMs)
      if (dropConnection) throw Faults.dropped
      answerLost ||= entry.fault.dropAnswer === true
      if (status === undefined) continue
      throw new ApiStatusError(
        status,
        message,
        reason,
        retryAfter === undefined ? undefined : { retryAfterSeconds: retryAfter },
      )
    }
    return answerLost
  }
}
