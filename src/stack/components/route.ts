import type { KubeObject } from '../kube.ts'
import { names } from '../names.ts'
import { object } from '../object.ts'
import type { Component, StackSpec } from '../spec.ts'

/** A prefix rule that is rewritten to `/`, and a catch-all rule, since one namespace serves one model. */
export const route: Component = {
  id: 'route',
  objects: (spec: StackSpec): KubeObject[] => {
    const n = names(spec)
    const backendRefs = [
      { group: 'inference.networking.k8s.io', kind: 'InferencePool', name: n.pool, port: 8000, weight: 1 },
    ]
    // 0s: a long generation must not be cut by the gateway.
    const timeouts = { request: '0s', backendRequest: '0s' }
    return [
      object(spec, 'gateway.networking.k8s.io/v1', 'HTTPRoute', n.route, {
        spec: {
          parentRefs: [{ group: 'gateway.networking.k8s.io', kind: 'Gateway', name: n.gateway }],
          rules: [
            {
              matches: [{ path: { type: 'PathPrefix', value: `/${spec.label}/` } }],
              filters: [
                { type: 'URLRewrite', urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/' } } },
              ],
              backendRefs,
              timeouts,
            },
            { backendRefs: [...backendRefs], timeouts: { ...timeouts } },
          ],
        },
      }),
    ]
  },
}
