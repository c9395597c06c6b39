import type { KubeObject } from '../kube.ts'
import { names, tokenSecretKey } from '../names.ts'
import { envList, object, placed, podLabels } from '../object.ts'
import type { Component, StackSpec } from '../spec.ts'

/** Pods behind the pool: everything that serves this model, whatever its role. */
const poolSelector = (spec: StackSpec) => ({ 'llm-d.ai/inferenceServing': 'true', 'llm-d.ai/model': spec.label })

// The picker drains nothing: the default 130 s would only make every teardown wait.
const graceSeconds = 10

/** The InferencePool and its endpoint picker, as the inferencepool chart renders them for istio. */
export const scheduler: Component = {
  id: 'scheduler',
  objects: (spec: StackSpec): KubeObject[] => {
    const n = names(spec)
    const name = n.scheduler
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name }
    return [
      object(spec, 'v1', 'ServiceAccount', name, {}),
      object(spec, 'rbac.authorization.k8s.io/v1', 'Role', name, {
        rules: [
          {
            apiGroups: ['inference.networking.x-k8s.io'],
            resources: ['inferenceobjectives'],
            verbs: ['get', 'watch', 'list'],
          },
          {
            apiGroups: ['inference.networking.k8s.io'],
            resources: ['inferencepools'],
            verbs: ['get', 'watch', 'list'],
          },
          { apiGroups: [''], resources: ['pods'], verbs: ['get', 'watch', 'list'] },
        ],
      }),
      object(spec, 'rbac.authorization.k8s.io/v1', 'RoleBinding', name, {
        roleRef,
        subjects: [{ kind: 'ServiceAccount', name, namespace: spec.namespace }],
      }),
      object(spec, 'v1', 'ConfigMap', name, {
        data: { [spec.settings.scheduler.pluginsFile]: spec.settings.scheduler.plugins },
      }),
      object(spec, 'v1', 'Service', name, {
        spec: {
          type: 'ClusterIP',
          selector: { inferencepool: name },
          ports: [
            { name: 'grpc-ext-proc', port: 9002, targetPort: 9002, protocol: 'TCP', appProtocol: 'http2' },
            { name: 'http-metrics', port: 9090, targetPort: 9090, protocol: 'TCP' },
            { name: 'zmq', port: 5557, targetPort: 5557, protocol: 'TCP' },
          ],
        },
      }),
      object(spec, 'inference.networking.k8s.io/v1', 'InferencePool', n.pool, {
        spec: {
          targetPorts: [{ number: 8000 }],
          selector: { matchLabels: poolSelector(spec) },
          endpointPickerRef: { name, port: { number: 9002 } },
        },
      }),
      deployment(spec, name, n.pool),
      // The picker serves gRPC over a certificate that it signs itself.
      object(spec, 'networking.istio.io/v1beta1', 'DestinationRule', name, {
        spec: {
          host: `${name}.${spec.namespace}.svc.cluster.local`,
          trafficPolicy: { tls: { mode: 'SIMPLE', insecureSkipVerify: true } },
        },
      }),
    ]
  },
}

function deployment(spec: StackSpec, name: string, pool: string): KubeObject {
  const health = { grpc: { port: 9003, service: 'inference-extension' } }
  return object(spec, 'apps/v1', 'Deployment', name, {
    spec: {
      replicas: 1,
      strategy: { type: 'Recreate' },
      selector: { matchLabels: { inferencepool: name } },
      template: {
        metadata: { labels: podLabels(spec, { inferencepool: name }) },
        spec: {
          serviceAccountName: name,
          terminationGracePeriodSeconds: graceSeconds,
          ...placed(spec.placement),
          containers: [
            {
              name: 'epp',
              image: spec.images.scheduler,
              imagePullPolicy: 'IfNotPresent',
              args: [
                '--pool-name',
                pool,
                '--pool-namespace',
                spec.namespace,
                '--pool-group',
                'inference.networking.k8s.io',
                '--zap-encoder',
                'json',
                '--config-file',
                `/config/${spec.settings.scheduler.pluginsFile}`,
                '--v',
                '1',
                '--tracing=false',
                '--metrics-endpoint-auth=false',
              ],
              ports: [
                { name: 'grpc', containerPort: 9002, protocol: 'TCP' },
                { name: 'grpc-health', containerPort: 9003, protocol: 'TCP' },
                { name: 'metrics', containerPort: 9090, protocol: 'TCP' },
                { name: 'zmq', containerPort: 5557, protocol: 'TCP' },
              ],
              livenessProbe: { ...health, initialDelaySeconds: 5, periodSeconds: 10 },
              readinessProbe: { ...health, periodSeconds: 2 },
              env: envList({
                NAMESPACE: { field: 'metadata.namespace' },
                POD_NAME: { field: 'metadata.name' },
                ...(spec.hfToken === undefined
                  ? {}
                  : { HF_TOKEN: { secret: names(spec).tokenSecret, key: tokenSecretKey } }),
              }),
              volumeMounts: [{ name: 'plugins-config-volume', mountPath: '/config' }],
            },
          ],
          volumes: [{ name: 'plugins-config-volume', configMap: { name } }],
        },
      },
    },
  })
}
