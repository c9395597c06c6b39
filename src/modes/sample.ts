import type { Api } from '../cluster/api.ts'
import { pause } from '../cluster/api.ts'
import { isForbidden } from '../cluster/api-error.ts'
import { externalMetric, metricsPage } from '../cluster/autoscaling.ts'
import type { View } from '../cluster/observer.ts'
import type { Log } from '../log.ts'
import type { WatchEvent } from '../results/schema.ts'
import { externalMetric as metricName } from '../stack/components/autoscaling.ts'
import { vllmPort } from '../stack/components/model-server.ts'
import { serverLoad } from '../stack/wva-readiness.ts'
import { decodePods } from './scalers.ts'

/** What no watch can tell is asked no more often than this. */
const periodMs = 5000

/**
 * Records, until the signal aborts, what no watch shows: the queues of the model servers and, under WVA, the external
 * metric. The right to a pod's metrics may be missing in a leg without WVA: then its queues are left out, and it is said.
 */
export async function sample(
  api: Api,
  of: { namespace: string; deployment: string; wva: boolean; view: View },
  events: WatchEvent[],
  options: { signal: AbortSignal; log: Log },
): Promise<void> {
  const { signal, log } = options
  let mayReadPods = true
  const loads = async (): Promise<void> => {
    const pods = decodePods(of.view).filter(p => p.metadata.deletionTimestamp === undefined)
    await Promise.all(
      pods.map(async ({ metadata: { name } }) => {
        const page = await metricsPage(api, { namespace: of.namespace, name }, vllmPort, signal)
        const load = page === undefined ? undefined : serverLoad(page)
        if (load === undefined) return
        const { waiting, running, kvUsage } = load
        events.push({ at: Date.now(), kind: 'Replica', name, waiting, running, kvUsage })
      }),
    )
  }
  const metric = async (): Promise<void> => {
    const labels = { variant_name: of.deployment }
    // An adapter that is away answers late: the outage began when it was asked, and is asked about in every round.
    const at = Date.now()
    const { values } = await externalMetric(api, of.namespace, metricName, labels, { signal, once: true })
    const value = values.length === 0 ? null : values.reduce((sum, v) => sum + v, 0)
    events.push({ at, kind: 'ExternalMetric', name: of.deployment, value })
  }
  while (!signal.aborted) {
    const round = await Promise.allSettled([mayReadPods ? loads() : undefined, of.wva ? metric() : undefined])
    if (signal.aborted) return
    const failed = round.find(r => r.status === 'rejected')
    if (failed !== undefined && isForbidden(failed.reason)) {
      mayReadPods = false
      log.info('the queues of the model servers are not recorded: the right `get pods/proxy` is missing')
    }
    await pause(periodMs, signal).catch(() => undefined)
  }
}
