import { setTimeout as sleep } from 'node:timers/promises'
import type { KubeObject } from '../../../src/stack/kube.ts'
import type { KubeClient } from '../client.ts'

interface LeaseSpec {
  holderIdentity?: string
  leaseDurationSeconds?: number
  acquireTime?: string
  renewTime?: string
  leaseTransitions?: number
}

/** Leader election by a Lease. Whether another holder is alive is judged by how long its record has not changed, so clocks need not agree. */
export class Leader {
  readonly #client: Pick<KubeClient, 'get' | 'create' | 'replace'>
  readonly #path: string
  readonly #lease: { name: string; namespace: string }
  readonly #identity: string
  readonly #durationMs: number
  #seen: { version: string | undefined; at: number } | undefined
  #mine: KubeObject | undefined

  constructor(
    client: Pick<KubeClient, 'get' | 'create' | 'replace'>,
    lease: { name: string; namespace: string },
    options: { identity: string; durationMs: number },
  ) {
    this.#client = client
    this.#lease = lease
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${lease.namespace}/leases/${lease.name}`
    this.#identity = options.identity
    this.#durationMs = options.durationMs
  }

  /** Resolves when this process leads. */
  async elected(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !(await this.#try())) await this.#pause(signal)
  }

  /** Keeps the lease; resolves when it was lost, or when `signal` is aborted. */
  async held(signal: AbortSignal): Promise<void> {
    let renewed = performance.now()
    while (!signal.aborted) {
      await this.#pause(signal)
      if (signal.aborted) return
      if (await this.#try()) renewed = performance.now()
      else if (this.#mine === undefined || performance.now() - renewed > this.#durationMs * (5 / 6)) return
    }
  }

  /** Lets the next one take over at once. */
  async release(): Promise<void> {
    if (this.#mine === undefined) return
    const spec = { ...(this.#mine.spec as LeaseSpec), holderIdentity: '', leaseDurationSeconds: 1 }
    await this.#client.replace({ ...this.#mine, spec }).catch(() => undefined)
    this.#mine = undefined
  }

  #pause(signal: AbortSignal): Promise<void> {
    return sleep(this.#durationMs / 6, undefined, { signal }).catch(() => undefined)
  }

  /** Takes or renews the lease; false when another one has it, or the API did not answer. */
  async #try(): Promise<boolean> {
    try {
      const live = await this.#client.get(this.#path).catch((error: { status?: number }) => {
        if (error.status === 404) return undefined
        throw error
      })
      const now = `${new Date().toISOString().slice(0, -1)}000Z`
      const spec = live?.spec as LeaseSpec | undefined
      const own = spec?.holderIdentity === this.#identity
      if (!own) this.#mine = undefined
      if (live && !own && spec?.holderIdentity && !this.#expired(live)) return false
      const wanted: LeaseSpec = {
        ...{ holderIdentity: this.#identity, leaseDurationSeconds: Math.ceil(this.#durationMs / 1000), renewTime: now },
        acquireTime: own ? (spec?.acquireTime ?? now) : now,
        leaseTransitions: (spec?.leaseTransitions ?? 0) + (live && !own ? 1 : 0),
      }
      const { name, namespace } = this.#lease
      const empty = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name, namespace } }
      this.#mine = live
        ? await this.#client.replace({ ...empty, metadata: live.metadata, spec: wanted })
        : await this.#client.create({ ...empty, spec: wanted })
      return true
    } catch {
      return false
    }
  }

  #expired(live: KubeObject): boolean {
    const version = live.metadata.resourceVersion
    if (this.#seen?.version !== version) this.#seen = { version, at: performance.now() }
    return performance.now() - this.#seen!.at > this.#durationMs
  }
}
