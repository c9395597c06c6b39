import type { KubeObject } from '../../../src/stack/kube.ts'
import type { GatewayConfig, PoolBackend } from './config.ts'
import type { GatewaySpec } from './generated.ts'
import { keyOf } from './informer.ts'
import { poolTarget, readyAddress, selects } from './pods.ts'

export const className = 'istio'
export const poolGroup = 'inference.networking.k8s.io'

/** Live objects by `namespace/name`. */
export interface View {
  readonly gateways: ReadonlyMap<string, KubeObject>
  readonly routes: ReadonlyMap<string, KubeObject>
  readonly pools: ReadonlyMap<string, KubeObject>
  readonly pods: ReadonlyMap<string, KubeObject>
  readonly services: ReadonlyMap<string, KubeObject>
}
interface BackendRef {
  group?: string
  kind?: string
  name: string
}
export interface ParentRef {
  group?: string
  kind?: string
  name: string
  namespace?: string
}
interface RouteSpec {
  parentRefs?: ParentRef[]
  rules?: {
    matches?: { path?: { type?: string; value?: string } }[]
    filters?: { type: string; urlRewrite?: { path?: { replacePrefixMatch?: string } } }[]
    backendRefs?: BackendRef[]
  }[]
}

export const alive = (objects: ReadonlyMap<string, KubeObject>): KubeObject[] =>
  [...objects.values()].filter(object => object.metadata.deletionTimestamp === undefined)

export const isOurs = (gateway: KubeObject): boolean => (gateway.spec as GatewaySpec).gatewayClassName === className

/** The Gateways of our class that a route attaches to, with the reference that names each. */
export function parentsOf(view: View, route: KubeObject): { gateway: KubeObject; ref: ParentRef }[] {
  return ((route.spec as RouteSpec).parentRefs ?? []).flatMap(ref => {
    const gateway = view.gateways.get(`${ref.namespace ?? route.metadata.namespace}/${ref.name}`)
    return gateway !== undefined && isOurs(gateway) ? [{ gateway, ref }] : []
  })
}

export const routesOf = (view: View, gatewayKey: string): KubeObject[] =>
  alive(view.routes).filter(route => parentsOf(view, route).some(({ gateway }) => keyOf(gateway) === gatewayKey))

/** Every backend that a route names, with its pool where that exists. */
export function backendsOf(view: View, route: KubeObject): { name: string; pool: KubeObject | undefined }[] {
  const refs = ((route.spec as RouteSpec).rules ?? []).flatMap(rule => rule.backendRefs ?? [])
  return refs.map(ref => ({ name: ref.name, pool: poolOf(view, route, ref) }))
}

function poolOf(view: View, route: KubeObject, ref: BackendRef): KubeObject | undefined {
  if (ref.kind !== 'InferencePool' || ref.group !== poolGroup) return undefined
  return view.pools.get(`${route.metadata.namespace}/${ref.name}`)
}

/** The Service of a pool's endpoint picker, when there is one. */
export function pickerService(
  view: View,
  pool: KubeObject,
): { name: string | undefined; port: number; service: KubeObject | undefined } {
  const ref = (pool.spec as { endpointPickerRef?: { name: string; port?: { number: number } } }).endpointPickerRef
  const service = ref && view.services.get(`${pool.metadata.namespace}/${ref.name}`)
  return { name: ref?.name, port: ref?.port?.number ?? 9002, service }
}

/** What the proxy of a Gateway has to know. */
export function gatewayConfig(view: View, gatewayKey: string): GatewayConfig {
  const rules = routesOf(view, gatewayKey).flatMap(route =>
    ((route.spec as RouteSpec).rules ?? []).flatMap(rule => {
      const ref = rule.backendRefs?.[0]
      const pool = ref && poolOf(view, route, ref)
      const rewrite = rule.filters?.find(f => f.type === 'URLRewrite')?.urlRewrite?.path?.replacePrefixMatch
      const common = {
        ...(rewrite === undefined ? {} : { rewrite }),
        ...(pool === undefined ? {} : { backend: backendOf(view, pool) }),
      }
      const prefixes = rule.matches?.map(match => match.path?.value) ?? [undefined]
      return prefixes.map(prefix => ({ ...(prefix === undefined ? {} : { prefix }), ...common }))
    }),
  )
  return { rules }
}

function backendOf(view: View, pool: KubeObject): PoolBackend {
  const { namespace } = pool.metadata
  const { matchLabels, port } = poolTarget(pool)
  const picker = pickerService(view, pool)
  const selector = (picker.service?.spec as { selector?: Record<string, string> } | undefined)?.selector
  const [address] = ready(view, namespace, selector)
  return {
    pool: keyOf(pool),
    ready: ready(view, namespace, matchLabels).map(replica => `${replica}:${port}`),
    ...(address === undefined ? {} : { picker: `${address}:${picker.port}` }),
  }
}

function ready(view: View, namespace: string | undefined, matchLabels: Record<string, string> | undefined): string[] {
  const pods = [...view.pods.values()].filter(pod => pod.metadata.namespace === namespace && selects(matchLabels, pod))
  return pods.flatMap(pod => readyAddress(pod) ?? []).sort()
}
