/** Above which a replica counts as saturated, and how much room the others must have on average. */
export interface Thresholds {
  readonly kvCacheThreshold: number
  readonly queueLengthThreshold: number
  readonly kvSpareTrigger: number
  readonly queueSpareTrigger: number
}
export const defaultThresholds: Thresholds = {
  ...{ kvCacheThreshold: 0.8, queueLengthThreshold: 5, kvSpareTrigger: 0.1, queueSpareTrigger: 3 },
}

/** One pod that has metrics: peaks over the query window. `kv` is a fraction, `queue` counts requests. */
export interface ReplicaLoad {
  readonly pod: string
  readonly variant: string
  readonly kv: number
  readonly queue: number
}
/** `desired` is what the status holds from before, 0 for none; `current` the Deployment's `status.replicas`. */
export interface Variant {
  readonly name: string
  readonly cost: number
  readonly current: number
  readonly desired: number
}
export interface Decision {
  readonly variant: string
  readonly current: number
  readonly target: number
  readonly action: 'scale-up' | 'scale-down' | 'no-change'
  /** Kept from before because the Deployment has not followed yet. */
  readonly frozen: boolean
  /** Pods that had metrics. */
  readonly ready: number
}
export interface Analysis {
  readonly nonSaturated: number
  /** Means over the replicas that are not saturated; 0 when all are. */
  readonly spareKv: number
  readonly spareQueue: number
  /** Why the model needs another replica; undefined when it does not. */
  readonly upReason: string | undefined
  readonly downSafe: boolean
}

/** Whether the replicas of one model, of all its variants together, need company or can do with one less. */
export function analyze(replicas: readonly ReplicaLoad[], t: Thresholds): Analysis {
  const calm = replicas.filter(r => r.kv < t.kvCacheThreshold && r.queue < t.queueLengthThreshold)
  const kv = calm.reduce((sum, r) => sum + r.kv, 0)
  const queue = calm.reduce((sum, r) => sum + r.queue, 0)
  const spareKv = calm.length === 0 ? 0 : t.kvCacheThreshold - kv / calm.length
  const spareQueue = calm.length === 0 ? 0 : t.queueLengthThreshold - queue / calm.length
  const left = calm.length - 1
  return {
    ...{ nonSaturated: calm.length, spareKv, spareQueue, upReason: reasonToGrow(spareKv, spareQueue, t) },
    downSafe:
      left >= 1 &&
      t.kvCacheThreshold - kv / left >= t.kvSpareTrigger &&
      t.queueLengthThreshold - queue / left >= t.queueSpareTrigger,
  }
}

function reasonToGrow(spareKv: number, spareQueue: number, t: Thresholds): string | undefined {
  const kv = `${spareKv.toFixed(3)} < ${t.kvSpareTrigger.toFixed(3)}`
  const queue = `${spareQueue.toFixed(1)} < ${t.queueSpareTrigger.toFixed(1)}`
  if (spareKv < t.kvSpareTrigger && spareQueue < t.queueSpareTrigger)
    return `both KV spare (${kv}) and queue spare (${queue})`
  if (spareKv < t.kvSpareTrigger) return `KV spare capacity low (${kv})`
  return spareQueue < t.queueSpareTrigger ? `queue spare capacity low (${queue})` : undefined
}

/**
 * What controller 0.4.2 decides for the variants of one model in its capacity mode. The count it starts from is that of
 * the pods with metrics, not the Deployment's; only one variant moves, by one. Variants whose earlier decision is not
 * carried out yet keep it and take no part.
 * @returns one decision for each variant that has a replica with metrics, keyed by its name alone
 */
export function decide(
  replicas: readonly ReplicaLoad[],
  variants: readonly Variant[],
  thresholds: Thresholds,
): Decision[] {
  const { upReason, downSafe } = analyze(replicas, thresholds)
  // Of two variants of the same name the later one is known, whichever namespace it is in.
  const known = [...new Map(variants.map(v => [v.name, v])).values()]
  const measured = known.flatMap(v => {
    const ready = replicas.filter(r => r.variant === v.name).length
    const frozen = v.desired !== 0 && v.desired !== v.current
    return ready === 0 ? [] : [{ ...v, ready, frozen, target: frozen ? v.desired : ready }]
  })
  const byCost = measured
    .filter(v => !v.frozen)
    .sort((a, b) => a.cost - b.cost || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  if (upReason !== undefined) {
    const cheapest = byCost[0]
    if (cheapest) cheapest.target = cheapest.ready + 1
  } else if (downSafe) {
    const dearest = byCost.findLast(v => v.ready > 1)
    if (dearest) dearest.target = dearest.ready - 1
  }
  return measured.map(({ name, current, target, frozen, ready }) => {
    const action = target > current ? 'scale-up' : target < current ? 'scale-down' : 'no-change'
    return { variant: name, current, target, action, frozen, ready }
  })
}
