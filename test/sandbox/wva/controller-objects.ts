import type { KubeObject } from '../../../src/stack/kube.ts'
import { configName } from './controller.ts'
import { durationMs } from './durations.ts'
import { controllerName as name, prometheusUrl } from './options.ts'
import { clusterGrant, namespacedGrant } from './rbac.ts'

const app = 'workload-variant-autoscaler'
const labels = { 'app.kubernetes.io/name': app, 'control-plane': 'controller-manager' }
const tokenName = `${name}-token-manual`
const image = 'ghcr.io/llm-d-incubation/workload-variant-autoscaler'

/**
 * One controller as the chart installs it, under the chart's names.
 * @param suffix of the names that the whole cluster shares; empty for the first
 */
export function controllerObjects(
  namespace: string,
  suffix: string,
  o: { version: string; reconcile: string; window: string; replicas: number; monitorLabels: Record<string, string> },
): KubeObject[] {
  const meta = (own: string) => ({ name: own, namespace, labels: { 'app.kubernetes.io/name': app } })
  const config = {
    PROMETHEUS_BASE_URL: prometheusUrl,
    PROMETHEUS_TLS_INSECURE_SKIP_VERIFY: 'true',
    PROMETHEUS_CA_CERT_PATH: '',
    GLOBAL_OPT_INTERVAL: o.reconcile,
    WVA_SCALE_TO_ZERO: 'false',
    EXPERIMENTAL_HYBRID_OPTIMIZATION: 'off',
  }
  const thresholds = 'kvCacheThreshold: 0.80\nqueueLengthThreshold: 5\nkvSpareTrigger: 0.1\nqueueSpareTrigger: 3\n'
  const monitorSpec = {
    namespaceSelector: { matchNames: [namespace] },
    selector: { matchLabels: labels },
    endpoints: [
      {
        ...{ port: 'https', scheme: 'https', path: '/metrics', interval: '10s' },
        bearerTokenSecret: { name: tokenName, key: 'token' },
        tlsConfig: { insecureSkipVerify: true },
      },
    ],
  }
  return [
    {
      ...{ apiVersion: 'v1', kind: 'Namespace' },
      metadata: { name: namespace, labels: { 'app.kubernetes.io/name': app, 'openshift.io/user-monitoring': 'true' } },
    },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: meta(name) },
    {
      ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/service-account-token' },
      metadata: { ...meta(tokenName), annotations: { 'kubernetes.io/service-account.name': name } },
    },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: meta(configName), data: config },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: meta('capacity-scaling-config'), data: { default: thresholds } },
    ...access(namespace, suffix),
    deployment(namespace, o, Object.keys(config)),
    {
      ...{ apiVersion: 'v1', kind: 'Service' },
      metadata: { name: `${name}-metrics-service`, namespace, labels },
      spec: { selector: labels, ports: [{ name: 'https', port: 8443, targetPort: 8443, protocol: 'TCP' }] },
    },
    {
      ...{ apiVersion: 'monitoring.coreos.com/v1', kind: 'ServiceMonitor' },
      metadata: {
        ...{ name: `${name}-metrics-monitor`, namespace },
        labels: { ...labels, 'openshift.io/user-monitoring': 'true', ...o.monitorLabels },
      },
      spec: monitorSpec,
    },
  ]
}

function deployment(
  namespace: string,
  o: { version: string; window: string; reconcile: string; replicas: number },
  keys: readonly string[],
): KubeObject {
  const fromConfig = (key: string) => ({ name: key, valueFrom: { configMapKeyRef: { name: configName, key } } })
  // Successors of a leader that is killed wait for its lease: not longer than tests with short intervals do.
  const lease = durationMs(o.reconcile) < 10_000 ? '6s' : '60s'
  const probe = (path: string) => ({ httpGet: { path, port: 8081 } })
  const manager = {
    ...{ name: 'manager', image: `${image}:v${o.version}`, imagePullPolicy: 'Always', command: ['/manager'] },
    args: [
      '--leader-elect=true',
      '--health-probe-bind-address=:8081',
      '--metrics-bind-address=:8443',
      '--metrics-secure=true',
    ],
    env: [
      { name: 'LOG_LEVEL', value: 'info' },
      { name: 'POD_NAMESPACE', valueFrom: { fieldRef: { fieldPath: 'metadata.namespace' } } },
      ...keys.filter(key => key !== 'GLOBAL_OPT_INTERVAL').map(fromConfig),
      { name: 'QUERY_WINDOW', value: o.window },
      { name: 'LEASE_DURATION', value: lease },
    ],
    ports: [
      { name: 'healthz', containerPort: 8081, protocol: 'TCP' },
      { name: 'https', containerPort: 8443, protocol: 'TCP' },
    ],
    livenessProbe: { ...probe('/healthz'), initialDelaySeconds: 15, periodSeconds: 20 },
    readinessProbe: { ...probe('/readyz'), initialDelaySeconds: 5, periodSeconds: 10 },
    resources: { requests: { cpu: '10m', memory: '64Mi' }, limits: { cpu: '500m', memory: '512Mi' } },
  }
  return {
    ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, namespace, labels } },
    spec: {
      replicas: o.replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { serviceAccountName: name, terminationGracePeriodSeconds: 10, containers: [manager] },
      },
    },
  }
}

function access(namespace: string, suffix: string): KubeObject[] {
  const account = { name, namespace }
  const read = ['get', 'list', 'watch']
  const write = ['create', 'update', 'patch', 'delete']
  return [
    ...clusterGrant(`${app}-manager-role${suffix}`, `${app}-manager-rolebinding${suffix}`, account, [
      { apiGroups: [''], resources: ['configmaps'], verbs: [...read, 'update'] },
      { apiGroups: [''], resources: ['nodes', 'nodes/status'], verbs: [...read, 'patch', 'update'] },
      { apiGroups: [''], resources: ['pods'], verbs: read },
      { apiGroups: ['apps'], resources: ['deployments'], verbs: [...read, 'patch', 'update'] },
      { apiGroups: ['llmd.ai'], resources: ['variantautoscalings'], verbs: [...read, ...write] },
      { apiGroups: ['llmd.ai'], resources: ['variantautoscalings/status'], verbs: ['get', 'patch', 'update'] },
      { apiGroups: ['monitoring.coreos.com'], resources: ['servicemonitors'], verbs: read },
      { apiGroups: [''], resources: ['events'], verbs: ['create', 'patch'] },
    ]),
    ...namespacedGrant(`${app}-leader-election-role`, `${app}-leader-election-rolebinding`, account, [
      { apiGroups: [''], resources: ['configmaps'], verbs: [...read, ...write] },
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: [...read, ...write] },
    ]),
  ]
}
