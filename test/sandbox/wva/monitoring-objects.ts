import { stringify } from 'yaml'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { durationMs } from './durations.ts'
import { monitoringNamespace as namespace, prometheusUrl } from './options.ts'
import { clusterGrant } from './rbac.ts'

const read = ['get', 'list', 'watch']
const namespaceObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }

function workload(name: string, container: Record<string, unknown>, volumes: readonly unknown[] = []): KubeObject[] {
  const labels = { 'app.kubernetes.io/name': name }
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } },
    {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace, labels } },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            ...{ serviceAccountName: name, terminationGracePeriodSeconds: 5, containers: [{ name, ...container }] },
            ...(volumes.length > 0 ? { volumes } : {}),
          },
        },
      },
    },
  ]
}

function service(name: string, port: Record<string, unknown>): KubeObject {
  const selector = { 'app.kubernetes.io/name': name }
  return {
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace, labels: selector } },
    spec: { selector, ports: [{ protocol: 'TCP', ...port }] },
  }
}

/** Prometheus with the rights of one that watches the whole cluster. It serves https, as the controller insists on that. */
export function prometheusObjects(o: {
  scrape: string | undefined
  window: string
  serviceMonitorSelector: Readonly<Record<string, string>>
}): KubeObject[] {
  const selector = Object.entries(o.serviceMonitorSelector).map(([key, value]) => `${key}=${value}`)
  // Instant queries look back five minutes; memory is kept small where the window is.
  const retentionMs = Math.min(600_000, Math.max(10_000, 6 * durationMs(o.window)))
  const container = {
    image: 'quay.io/prometheus/prometheus:v3.8.0',
    args: [
      '--web.listen-address=0.0.0.0:9090',
      '--tls=true',
      `--storage.tsdb.retention.time=${retentionMs}ms`,
      ...(selector.length > 0 ? [`--service-monitor-selector=${selector.join(',')}`] : []),
      ...(o.scrape === undefined ? [] : [`--scrape-interval=${o.scrape}`]),
    ],
    ports: [{ name: 'web', containerPort: 9090 }],
    readinessProbe: { httpGet: { path: '/-/ready', port: 'web', scheme: 'HTTPS' }, periodSeconds: 5 },
  }
  const account = { name: 'prometheus', namespace }
  return [
    namespaceObject,
    ...clusterGrant('prometheus', 'prometheus', account, [
      { apiGroups: [''], resources: ['services', 'pods', 'endpoints'], verbs: read },
      { apiGroups: ['monitoring.coreos.com'], resources: ['servicemonitors'], verbs: read },
    ]),
    ...workload('prometheus', container),
    service('prometheus', { name: 'web', port: 9090, targetPort: 'web' }),
  ]
}

/** prometheus-adapter with one external rule, and the APIService that makes it the owner of external metrics. */
export function adapterObjects(o: { rule: 'max' | 'plain'; relist: string }): KubeObject[] {
  const name = 'prometheus-adapter'
  const metric = 'inferno_desired_replicas'
  const plain = `${metric}{<<.LabelMatchers>>}`
  const rule = {
    seriesQuery: `${metric}{variant_name!="",exported_namespace!=""}`,
    resources: {
      overrides: { exported_namespace: { resource: 'namespace' }, variant_name: { resource: 'deployment' } },
    },
    name: { matches: `^${metric}$`, as: metric },
    metricsQuery: o.rule === 'plain' ? plain : `max by (exported_namespace, variant_name) (${plain})`,
  }
  const container = {
    image: 'registry.k8s.io/prometheus-adapter/prometheus-adapter:v0.12.0',
    args: [
      '--secure-port=6443',
      '--cert-dir=/tmp/cert',
      `--prometheus-url=${prometheusUrl}`,
      `--metrics-relist-interval=${o.relist}`,
      '--config=/etc/adapter/config.yaml',
    ],
    ports: [{ name: 'https', containerPort: 6443 }],
    readinessProbe: { httpGet: { path: '/healthz', port: 'https', scheme: 'HTTPS' }, periodSeconds: 5 },
    volumeMounts: [{ name: 'config', mountPath: '/etc/adapter', readOnly: true }],
  }
  const config = { 'config.yaml': stringify({ externalRules: [rule] }) }
  return [
    namespaceObject,
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: config },
    ...workload(name, container, [{ name: 'config', configMap: { name } }]),
    service(name, { name: 'https', port: 443, targetPort: 'https' }),
    {
      ...{ apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService' },
      metadata: { name: 'v1beta1.external.metrics.k8s.io' },
      spec: {
        ...{ group: 'external.metrics.k8s.io', version: 'v1beta1', insecureSkipTLSVerify: true },
        ...{ groupPriorityMinimum: 100, versionPriority: 100, service: { name, namespace, port: 443 } },
      },
    },
  ]
}
