import type { KubeObject } from '../../../src/stack/kube.ts'
import { condition } from './conditions.ts'
import type { GatewaySpec } from './generated.ts'
import { keyOf } from './informer.ts'
import { backendsOf, parentsOf, pickerService, routesOf, type View } from './topology.ts'

export const controllerName = 'istio.io/gateway-controller'
export const gatewayGroup = 'gateway.networking.k8s.io'

// Reasons and messages are istio's own.

export const classStatus = (gatewayClass: KubeObject): Record<string, unknown> => ({
  conditions: [condition(gatewayClass, 'Accepted', true, 'Accepted', 'Handled by Istio controller')],
})

/** A Gateway whose parameters cannot be read gets no proxy. */
export const invalidGatewayStatus = (gateway: KubeObject, why: string): Record<string, unknown> => ({
  conditions: [
    condition(gateway, 'Accepted', false, 'InvalidParameters', why),
    condition(gateway, 'Programmed', false, 'Invalid', 'Failed to assign to any requested addresses'),
  ],
})

export function gatewayStatus(
  view: View,
  gateway: KubeObject,
  service: KubeObject | undefined,
): Record<string, unknown> {
  const { namespace, name } = gateway.metadata
  const { listeners = [] } = gateway.spec as GatewaySpec
  const addresses = addressesOf(service)
  const assigned = `assigned to service(s) ${name}-istio.${namespace}.svc.cluster.local:${listeners[0]?.port ?? 80}`
  const pending = `Resource ${assigned}, but failed to assign to all requested addresses: address pending`
  const fine = (type: string, status = true, reason = type) =>
    condition(gateway, type, status, reason, 'No errors found')
  return {
    ...(addresses.length > 0 ? { addresses } : {}),
    conditions: [
      condition(gateway, 'Accepted', true, 'Accepted', 'Resource accepted'),
      addresses.length > 0
        ? condition(gateway, 'Programmed', true, 'Programmed', `Resource programmed, ${assigned}`)
        : condition(gateway, 'Programmed', false, 'AddressNotAssigned', pending),
    ],
    listeners: listeners.map(listener => ({
      name: listener.name,
      attachedRoutes: routesOf(view, keyOf(gateway)).length,
      supportedKinds: ['HTTPRoute', 'GRPCRoute'].map(kind => ({ group: gatewayGroup, kind })),
      conditions: [
        fine('Accepted'),
        fine('Conflicted', false, 'NoConflicts'),
        fine('Programmed'),
        fine('ResolvedRefs'),
      ],
    })),
  }
}

export function routeStatus(view: View, route: KubeObject): Record<string, unknown> {
  const missing = backendsOf(view, route).find(({ pool }) => pool === undefined)
  const conditions = [
    condition(route, 'Accepted', true, 'Accepted', 'Route was valid'),
    missing === undefined
      ? condition(route, 'ResolvedRefs', true, 'ResolvedRefs', 'All references resolved')
      : condition(route, 'ResolvedRefs', false, 'BackendNotFound', `backend(${missing.name}) not found`),
  ]
  return { parents: parentsOf(view, route).map(({ ref }) => ({ parentRef: ref, controllerName, conditions })) }
}

export function poolStatus(view: View, pool: KubeObject, parents: readonly KubeObject[]): Record<string, unknown> {
  const { name, service } = pickerService(view, pool)
  const accepted = 'Referenced by an HTTPRoute accepted by the parentRef Gateway'
  const conditions = [
    condition(pool, 'Accepted', true, 'Accepted', accepted),
    service !== undefined
      ? condition(pool, 'ResolvedRefs', true, 'ResolvedRefs', 'Referenced ExtensionRef resolved successfully')
      : condition(pool, 'ResolvedRefs', false, 'InvalidExtensionRef', `Referenced ExtensionRef not found: ${name}`),
  ]
  return {
    parents: parents.map(({ metadata: { name, namespace } }) => ({
      parentRef: { group: gatewayGroup, kind: 'Gateway', name, namespace },
      controllerName,
      conditions,
    })),
  }
}

/** A LoadBalancer has the addresses that its provider gave it; any other type is known by its name in the cluster. */
function addressesOf(service: KubeObject | undefined): { type: string; value: string }[] {
  if (service === undefined) return []
  const { name, namespace } = service.metadata
  if ((service.spec as { type?: string }).type !== 'LoadBalancer') {
    return [{ type: 'Hostname', value: `${name}.${namespace}.svc.cluster.local` }]
  }
  const status = service.status as { loadBalancer?: { ingress?: { ip?: string; hostname?: string }[] } } | undefined
  return (status?.loadBalancer?.ingress ?? []).flatMap(({ ip, hostname }) => {
    if (ip !== undefined) return [{ type: 'IPAddress', value: ip }]
    return hostname === undefined ? [] : [{ type: 'Hostname', value: hostname }]
  })
}
