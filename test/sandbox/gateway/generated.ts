import { createHash } from 'node:crypto'
import type { KubeMeta, KubeObject } from '../../../src/stack/kube.ts'
import { poolTarget } from './pods.ts'

export const gatewayLabel = 'gateway.networking.k8s.io/gateway-name'
export const poolLabel = 'istio.io/inferencepool-name'
const proxyImage = 'docker.io/istio/proxyv2:1.28.1'
/** Where the proxy double listens; below 1024 it would need rights that it does not have. */
const trafficPort = 8080
const statusPort = 15021

/** Maps are merged, lists of named things by name, everything else replaces: what strategic merge does to a pod template. */
export function overlay(base: unknown, patch: unknown): unknown {
  if (
    Array.isArray(base) &&
    Array.isArray(patch) &&
    [...base, ...patch].every(item => typeof item?.name === 'string')
  ) {
    const named = new Map<string, unknown>(base.map(item => [item.name, item]))
    for (const item of patch) named.set(item.name, overlay(named.get(item.name), item))
    return [...named.values()]
  }
  if (!isMap(base) || !isMap(patch)) return patch
  const merged = { ...base }
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key]
    else merged[key] = key in base ? overlay(base[key], value) : value
  }
  return merged
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export interface GatewaySpec {
  gatewayClassName: string
  listeners?: { name: string; port: number; protocol: string }[]
  infrastructure?: { labels?: Record<string, string>; parametersRef?: { kind: string; name: string } }
}

function owned(owner: KubeObject, name: string, labels: Record<string, string>): KubeMeta {
  const { apiVersion, kind, metadata } = owner
  return {
    name,
    namespace: metadata.namespace!,
    labels,
    ownerReferences: [{ apiVersion, kind, name: metadata.name, uid: metadata.uid!, controller: true }],
  }
}

/**
 * ServiceAccount, Deployment and Service of a Gateway, with the overlays of its ConfigMap applied. The labels are those
 * of `spec.infrastructure`, else the Gateway's own.
 */
export function proxyObjects(
  gateway: KubeObject,
  overlays: { deployment?: unknown; service?: unknown },
  discoveryUrl: string,
): KubeObject[] {
  const spec = gateway.spec as GatewaySpec
  const name = `${gateway.metadata.name}-istio`
  const labels = {
    ...(spec.infrastructure?.labels ?? gateway.metadata.labels),
    [gatewayLabel]: gateway.metadata.name,
    'gateway.networking.k8s.io/gateway-class-name': spec.gatewayClassName,
  }
  const ready = { httpGet: { path: '/healthz/ready', port: statusPort } }
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: owned(gateway, name, labels),
    spec: {
      replicas: 1,
      selector: { matchLabels: { [gatewayLabel]: gateway.metadata.name } },
      template: {
        metadata: { labels: { ...labels, 'sidecar.istio.io/inject': 'false' } },
        spec: {
          serviceAccountName: name,
          terminationGracePeriodSeconds: 5,
          containers: [
            {
              name: 'istio-proxy',
              image: proxyImage,
              args: ['proxy', 'router', '--domain', '$(POD_NAMESPACE).svc.cluster.local', '--proxyLogLevel', 'warning'],
              env: [
                { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
                { name: 'POD_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
                { name: 'ISTIO_META_WORKLOAD_NAME', value: name },
                {
                  name: 'DISCOVERY_URL',
                  value: `${discoveryUrl}/${gateway.metadata.namespace}/${gateway.metadata.name}`,
                },
              ],
              ports: [
                { name: 'traffic', containerPort: trafficPort, protocol: 'TCP' },
                { name: 'status-port', containerPort: statusPort, protocol: 'TCP' },
              ],
              startupProbe: {
                ...ready,
                initialDelaySeconds: 1,
                periodSeconds: 1,
                failureThreshold: 30,
                timeoutSeconds: 1,
              },
              readinessProbe: { ...ready, periodSeconds: 15, failureThreshold: 4, timeoutSeconds: 1 },
            },
          ],
        },
      },
    },
  }
  const listeners = (spec.listeners ?? []).map(l => ({
    name: l.name,
    port: l.port,
    protocol: 'TCP',
    targetPort: trafficPort,
  }))
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: owned(gateway, name, labels),
    spec: {
      type: 'LoadBalancer',
      selector: { [gatewayLabel]: gateway.metadata.name },
      ports: [{ name: 'status-port', port: statusPort, protocol: 'TCP', targetPort: statusPort }, ...listeners],
    },
  }
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: owned(gateway, name, labels) },
    overlay(deployment, overlays.deployment ?? {}) as KubeObject,
    overlay(service, overlays.service ?? {}) as KubeObject,
  ]
}

/** The headless Service by which the mesh sees the replicas of a pool. */
export function shadowService(pool: KubeObject): KubeObject {
  const { matchLabels, port } = poolTarget(pool)
  const name = `${pool.metadata.name}-ip-${createHash('sha256').update(pool.metadata.name).digest('hex').slice(0, 8)}`
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: owned(pool, name, { [poolLabel]: pool.metadata.name }),
    spec: {
      clusterIP: 'None',
      selector: matchLabels,
      ports: [{ name: 'http-0', port: 54321, protocol: 'TCP', targetPort: port }],
    },
  }
}
