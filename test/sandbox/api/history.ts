import type { KubeObject } from '../../../src/stack/kube.ts'

/** One change, in the order of resource versions. Objects are frozen: copy before changing. */
export interface StoreEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED'
  /** Resource id, `pods` or `deployments.apps`. */
  resource: string
  resourceVersion: number
  object: KubeObject
  previous?: KubeObject
}

/** The counter of resource versions, the changes that a watch can resume from, and who hears of new ones. */
export class History {
  readonly #size: number
  readonly #log: StoreEvent[] = []
  readonly #subscribers = new Set<(event: StoreEvent) => void>()
  #queue: StoreEvent[] = []
  #version = 1000
  #oldest = 1000

  constructor(size: number) {
    this.#size = size
  }

  get version(): number {
    return this.#version
  }
  /** A watch from before this version has missed something. */
  get oldest(): number {
    return this.#oldest
  }
  next(): number {
    return ++this.#version
  }
  compact(): void {
    this.#log.length = 0
    this.#oldest = this.next()
  }
  since(version: number): readonly StoreEvent[] {
    return this.#log.filter(e => e.resourceVersion > version)
  }

  subscribe(onEvent: (event: StoreEvent) => void): () => void {
    this.#subscribers.add(onEvent)
    return () => this.#subscribers.delete(onEvent)
  }

  record(event: StoreEvent): void {
    this.#log.push(event)
    if (this.#log.length > this.#size) this.#oldest = this.#log.shift()?.resourceVersion ?? this.#oldest
    if (this.#queue.push(event) === 1) queueMicrotask(() => this.#deliver())
  }

  #deliver(): void {
    const events = this.#queue
    this.#queue = []
    for (const event of events) for (const notify of [...this.#subscribers]) notify(event)
  }
}
