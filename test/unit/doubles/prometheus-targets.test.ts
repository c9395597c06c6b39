import { describe, expect, test } from '@jest/globals'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { targetsOf } from '../../sandbox/wva/targets.ts'

describe('targets', () => {
  const ready = (name: string, podIP: string, more: Record<string, unknown> = {}, status = 'True'): KubeObject => ({
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'ns', uid: name, labels: { app: 'm' }, ...more } },
    spec: { containers: [{ ports: [{ name: 'http', containerPort: 8200 }] }] },
    status: { podIP, conditions: [{ type: 'Ready', status }] },
  })
  const service = (namespace: string, labels: Record<string, string>): KubeObject => ({
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'vllm', namespace, labels } },
    spec: { selector: { app: 'm' }, ports: [{ name: 'vllm', port: 80, targetPort: 'http' }] },
  })
  const monitor = (spec: Record<string, unknown>, labels: Record<string, string> = {}): KubeObject => ({
    ...{ apiVersion: 'monitoring.coreos.com/v1', kind: 'ServiceMonitor' },
    metadata: { name: 'sm', namespace: 'ns', labels },
    spec: { selector: { matchLabels: { model: 'm' } }, endpoints: [{ port: 'vllm', interval: '15s' }], ...spec },
  })
  const urls = (one: KubeObject, pods: KubeObject[], services = [service('ns', { model: 'm' })], chosen = {}) => {
    const map = (all: KubeObject[]) => new Map(all.map(o => [`${o.metadata.namespace}/${o.metadata.name}`, o]))
    return [...targetsOf({ monitors: map([one]), services: map(services), pods: map(pods) }, chosen).values()]
  }

  test('a Ready pod behind a Service of the chosen labels is one, under the port that its container names', () => {
    expect(urls(monitor({}), [ready('a', '127.0.0.2')])).toMatchObject([
      {
        ...{ url: 'http://127.0.0.2:8200/metrics', intervalMs: 15_000 },
        labels: {
          ...{ namespace: 'ns', pod: 'a', service: 'vllm', job: 'vllm', endpoint: 'vllm' },
          instance: '127.0.0.2:8200',
        },
      },
    ])
  })

  test('pods that are not Ready, that end, or that the Service does not select are none', () => {
    const ending = ready('b', '127.0.0.3', { deletionTimestamp: '2026-01-01T00:00:00Z' })
    const other = ready('c', '127.0.0.4', { labels: { app: 'x' } })
    expect(urls(monitor({}), [ready('a', '127.0.0.2', {}, 'False'), ending, other])).toEqual([])
  })

  test('Services of other labels, other port names and other namespaces are left alone', () => {
    const pods = [ready('a', '127.0.0.2')]
    expect(urls(monitor({}), pods, [service('ns', { model: 'x' })])).toEqual([])
    expect(urls(monitor({ endpoints: [{ port: 'web' }] }), pods)).toEqual([])
    expect(urls(monitor({ namespaceSelector: { matchNames: ['elsewhere'] } }), pods)).toEqual([])
    expect(urls(monitor({ namespaceSelector: { matchNames: ['ns'] } }), pods)).toHaveLength(1)
    const away = { ...monitor({ namespaceSelector: { any: true } }) }
    away.metadata = { ...away.metadata, namespace: 'monitoring' }
    expect(urls(away, pods)).toHaveLength(1)
    expect(urls({ ...away, spec: monitor({}).spec }, pods)).toEqual([])
  })

  test('a ServiceMonitor without the labels that this Prometheus wants is not heard', () => {
    const chosen = { release: 'stack' }
    const services = [service('ns', { model: 'm' })]
    const pods = [ready('a', '127.0.0.2')]
    expect(urls(monitor({}), pods, services, chosen)).toEqual([])
    expect(urls(monitor({}, { release: 'stack' }), pods, services, chosen)).toHaveLength(1)
  })

  test('scheme, path and selector expressions are followed', () => {
    const spec = {
      selector: { matchExpressions: [{ key: 'model', operator: 'In', values: ['m'] }] },
      endpoints: [{ port: 'vllm', scheme: 'https', path: '/m' }],
    }
    expect(urls(monitor(spec), [ready('a', '127.0.0.2')])).toMatchObject([{ url: 'https://127.0.0.2:8200/m' }])
    const not = { selector: { matchExpressions: [{ key: 'model', operator: 'DoesNotExist' }] } }
    expect(urls(monitor(not), [ready('a', '127.0.0.2')])).toEqual([])
  })
})
