import { stringify } from 'yaml'
import { type KubeObject, stackLabel } from '../kube.ts'
import { names } from '../names.ts'
import { object } from '../object.ts'
import type { Component, StackSpec } from '../spec.ts'

/** Overlays for what istiod generates from the Gateway; istiod reads them when it first renders it. */
function overlay(spec: StackSpec): KubeObject {
  const deployment = {
    spec: {
      template: {
        spec: {
          containers: [
            {
              name: 'istio-proxy',
              args: [
                'proxy',
                'router',
                '--domain',
                '$(POD_NAMESPACE).svc.cluster.local',
                '--proxyLogLevel',
                'error',
                '--proxyComponentLogLevel',
                'misc:error',
                '--log_output_level',
                'default:error',
              ],
              resources: { limits: { cpu: '16', memory: '16Gi' }, requests: { cpu: '4', memory: '4Gi' } },
            },
          ],
        },
      },
    },
  }
  return object(spec, 'v1', 'ConfigMap', names(spec).gateway, {
    data: {
      deployment: stringify(deployment),
      service: stringify({ spec: { type: spec.settings.gateway.serviceType } }),
    },
  })
}

/**
 * All labels at creation: istiod copies a Gateway's labels to its pods, so a label that is added later rolls the proxy
 * right before the first request. `infrastructure.labels` replaces that copy and carries our ownership.
 */
function gateway(spec: StackSpec): KubeObject {
  const { gateway: name } = names(spec)
  return object(
    spec,
    'gateway.networking.k8s.io/v1',
    'Gateway',
    name,
    {
      spec: {
        gatewayClassName: spec.settings.gateway.className,
        listeners: [{ name: 'default', port: 80, protocol: 'HTTP', allowedRoutes: { namespaces: { from: 'All' } } }],
        infrastructure: {
          labels: { [stackLabel]: spec.stack },
          parametersRef: { group: '', kind: 'ConfigMap', name },
        },
      },
    },
    {
      'app.kubernetes.io/gateway': name,
      'app.kubernetes.io/component': 'inference-gateway',
      'istio.io/enable-inference-extproc': 'true',
      'stood-up-by': 'bench-action',
      'stood-up-from': 'llm-d-bench-action',
      'stood-up-via': 'modelservice',
    },
  )
}

export const gatewayComponent: Component = { id: 'gateway', objects: spec => [overlay(spec), gateway(spec)] }
