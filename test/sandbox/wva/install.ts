import { setTimeout as sleep } from 'node:timers/promises'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { type KubeClient, objectPath } from '../client.ts'
import { controllerObjects } from './controller-objects.ts'
import { adapterObjects, prometheusObjects } from './monitoring-objects.ts'
import { defaults, type WvaOptions } from './options.ts'

const fieldManager = 'helm'
const pollMs = 250

/** All objects of the platform, in the order in which they can be applied: Prometheus, controllers, adapter. */
export function wvaPlatform(options: WvaOptions = {}): KubeObject[] {
  return parts(options).flat()
}

function parts(options: WvaOptions): KubeObject[][] {
  const o = { ...defaults, ...options }
  const controller = { ...o, monitorLabels: { ...o.serviceMonitorSelector } }
  return [
    prometheusObjects({ ...o, scrape: options.scrape }),
    [
      ...controllerObjects(o.namespace, '', controller),
      ...(o.controllers === 2 ? controllerObjects(`${o.namespace}-2`, '-2', controller) : []),
    ],
    adapterObjects(o),
  ]
}

/**
 * Applies the platform and waits until all of it works. Prometheus comes first: a controller that does not find it
 * waits five seconds before it looks again.
 * @throws when a Deployment is not available within `timeoutMs`, naming it
 */
export async function installWva(client: KubeClient, options: WvaOptions = {}, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs
  const [prometheus = [], ...others] = parts(options)
  for (const objects of [prometheus, others.flat()]) {
    // One after the other, for the namespace has to be there before what is in it.
    for (const object of objects) await client.apply(object, { fieldManager, force: true })
    await Promise.all(objects.filter(o => o.kind === 'Deployment').map(o => available(client, o, deadline)))
  }
}

async function available(client: KubeClient, deployment: KubeObject, deadline: number): Promise<void> {
  const wanted = (deployment.spec as { replicas: number }).replicas
  for (;;) {
    const { status, metadata } = await client.get(objectPath(deployment))
    const { availableReplicas, observedGeneration } = (status ?? {}) as Record<string, number>
    if ((availableReplicas ?? 0) >= wanted && observedGeneration === metadata.generation) return
    if (Date.now() > deadline)
      throw new Error(`Deployment ${metadata.namespace}/${metadata.name} is not available: ${JSON.stringify(status)}`)
    await sleep(pollMs)
  }
}
