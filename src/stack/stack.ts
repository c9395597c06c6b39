import { access } from './components/access.ts'
import { autoscaling } from './components/autoscaling.ts'
import { gatewayComponent } from './components/gateway.ts'
import { modelServer } from './components/model-server.ts'
import { preprocess } from './components/preprocess.ts'
import { route } from './components/route.ts'
import { scheduler } from './components/scheduler.ts'
import { storage } from './components/storage.ts'
import type { KubeObject } from './kube.ts'
import type { Component, StackSpec } from './spec.ts'

/** What a stack is made of. */
export const components: readonly Component[] = [
  access,
  preprocess,
  storage,
  gatewayComponent,
  scheduler,
  modelServer,
  route,
  autoscaling,
]

/** What others refer to comes first. A kind that is not here is a workload or a route, and goes last. */
const applyOrder = [
  'Secret',
  'ConfigMap',
  'ServiceAccount',
  'Role',
  'RoleBinding',
  'PersistentVolumeClaim',
  'Service',
  'InferencePool',
  'Gateway',
  'Job',
  'Deployment',
]

/**
 * All objects of a stack but the inventory, which lists them and goes before them: 17 with the default settings and a
 * token, 21 under WVA. In the order in which a plan shows them; a slow or sequential apply may follow it.
 */
export function stackObjects(spec: StackSpec): KubeObject[] {
  const rank = ({ kind }: KubeObject) => (applyOrder.includes(kind) ? applyOrder.indexOf(kind) : applyOrder.length)
  return components.flatMap(c => c.objects(spec)).sort((a, b) => rank(a) - rank(b))
}

const hidden = (data: unknown): Record<string, string> =>
  Object.fromEntries(Object.keys((data as object) ?? {}).map(key => [key, 'REDACTED']))

/** Copies for a plan: the values of Secrets are replaced, everything else is as it would be applied. */
export function redact(objects: readonly KubeObject[]): KubeObject[] {
  return objects.map(o => {
    if (o.kind !== 'Secret') return structuredClone(o)
    const copy = structuredClone(o)
    if (copy.data !== undefined) copy.data = hidden(copy.data)
    if (copy.stringData !== undefined) copy.stringData = hidden(copy.stringData)
    return copy
  })
}
