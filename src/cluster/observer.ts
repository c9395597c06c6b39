import { UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { KubeObject } from '../stack/kube.ts'
import type { Api } from './api.ts'
import type { Kind } from './resources.ts'
import { follow, type WatchChange } from './watch.ts'

/** What is known of the cluster at one moment; kept current by watches. */
export interface View {
  get(kind: Kind, name: string): KubeObject | undefined
  list(kind: Kind): KubeObject[]
}

/**
 * One watch per kind serves every wait of a mode: a check is evaluated on each change, never on a timer.
 * A watch that the server refuses for good (403) rejects every wait.
 */
export class Observer {
  readonly #objects = new Map<Kind, Map<string, KubeObject>>()
  readonly #waiters = new Set<() => void>()
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #loops: Promise<void>[] = []
  #broken: unknown
  readonly #api: Api
  readonly #namespace: string
  readonly #log: Log

  constructor(api: Api, namespace: string, log: Log, signal: AbortSignal) {
    this.#api = api
    this.#namespace = namespace
    this.#log = log
    this.#signal = AbortSignal.any([signal, this.#stop.signal])
  }

  readonly view: View = {
    get: (kind, name) => this.#objects.get(kind)?.get(name),
    list: kind => [...(this.#objects.get(kind)?.values() ?? [])],
  }

  /** Starts to follow a kind; resolves after its first list. */
  watch(
    kind: Kind,
    options: { labelSelector?: string; fieldSelector?: string; onChange?: (change: WatchChange) => void } = {},
  ): Promise<void> {
    const store = new Map<string, KubeObject>()
    this.#objects.set(kind, store)
    return new Promise<void>((resolve, reject) => {
      const loop = follow(this.#api, kind, this.#namespace, {
        ...options,
        signal: this.#signal,
        log: this.#log,
        onSynced: resolve,
        onChange: change => {
          const { name } = change.object.metadata
          if (change.type !== 'DELETED') store.set(name, change.object)
          else if (store.get(name)?.metadata.uid === change.object.metadata.uid) store.delete(name)
          options.onChange?.(change)
          this.#wake()
        },
      })
      this.#loops.push(
        loop.then(
          () => resolve(),
          error => {
            this.#broken ??= error
            reject(error)
            this.#wake()
          },
        ),
      )
    })
  }

  #wake(): void {
    for (const waiter of [...this.#waiters]) waiter()
  }

  /**
   * Waits until `check` gives a value. `check` may throw to end the wait early. On time-out `onTimeout` makes the error
   * from the last view.
   */
  until<T>(
    check: (view: View) => T | undefined,
    options: { timeoutMs: number; onTimeout: (view: View) => Error; signal?: AbortSignal },
  ): Promise<T> {
    const signal = options.signal ? AbortSignal.any([this.#signal, options.signal]) : this.#signal
    return new Promise<T>((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        this.#waiters.delete(evaluate)
        signal.removeEventListener('abort', onAbort)
        settle()
      }
      const onAbort = () => finish(() => reject(signal.reason))
      const evaluate = () => {
        if (this.#broken !== undefined) return finish(() => reject(this.#broken))
        try {
          const value = check(this.view)
          if (value !== undefined) finish(() => resolve(value))
        } catch (error) {
          finish(() => reject(error))
        }
      }
      const timer = setTimeout(
        () => finish(() => reject(options.onTimeout(this.view))),
        Math.min(options.timeoutMs, 2 ** 31 - 1),
      )
      if (signal.aborted) return onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiters.add(evaluate)
      evaluate()
    })
  }

  /** Evaluates every pending check again, for checks that depend on time. */
  poke(): void {
    this.#wake()
  }

  async close(): Promise<void> {
    this.#stop.abort(new UserError('CANCELLED', 'observer closed', { why: 'closed', next: '' }))
    await Promise.allSettled(this.#loops)
  }
}
