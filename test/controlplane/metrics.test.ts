import { afterAll, expect, test } from '@jest/globals'
import { pause } from '../../src/cluster/api.ts'
import { externalMetric } from '../../src/cluster/autoscaling.ts'
import { discover } from '../../src/cluster/discover.ts'
import { apply, get, remove } from '../../src/cluster/objects.ts'
import { externalMetric as metric } from '../../src/stack/components/autoscaling.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import { freshNamespace, open } from './ring.ts'

const api = open()
afterAll(() => api.close())
const groupVersion = 'external.metrics.k8s.io/v1beta1'
const ask = (namespace: string) =>
  externalMetric(api, namespace, metric, { variant_name: 'a' }, { signal: AbortSignal.timeout(20_000), once: true })
const signal = () => AbortSignal.timeout(20_000)

test('an external metrics API that nobody registered is a 404 and is not discovered; one without endpoints is a 503', async () => {
  const namespace = await freshNamespace(api)
  expect(await discover(api, [groupVersion], signal())).toEqual([])
  const before = await ask(namespace)
  expect(before).toMatchObject({ status: 404, values: [] })
  expect(before.message).toContain('404')
  await apply(api, {
    ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'adapter', namespace } },
    spec: { ports: [{ name: 'https', port: 443 }], selector: { app: 'adapter' } },
  })
  const service = await apply(api, {
    ...{ apiVersion: 'apiregistration.k8s.io/v1', kind: 'APIService' },
    metadata: { name: 'v1beta1.external.metrics.k8s.io' },
    spec: {
      ...{ group: 'external.metrics.k8s.io', version: 'v1beta1', groupPriorityMinimum: 100, versionPriority: 100 },
      ...{ insecureSkipTLSVerify: true, service: { namespace, name: 'adapter' } },
    },
  })
  try {
    const condition = await available()
    expect(condition).toMatchObject({ status: 'False', reason: 'EndpointsNotFound' })
    expect(condition?.message).toContain(`service/adapter in "${namespace}"`)
    const away = await ask(namespace)
    expect(away).toMatchObject({ status: 503, values: [] })
    expect(away.message).toContain('service unavailable')
    expect(await discover(api, [groupVersion], signal())).toEqual([
      { group: 'external.metrics.k8s.io', version: 'v1beta1', kinds: [] },
    ])
  } finally {
    await remove(api, service)
  }
})

interface Condition {
  type: string
  status: string
  reason: string
  message: string
}
async function available(): Promise<Condition | undefined> {
  for (const deadline = Date.now() + 15_000; ; await pause(50)) {
    const live: KubeObject | undefined = await get(api, 'APIService', undefined, 'v1beta1.external.metrics.k8s.io')
    const { conditions = [] } = (live?.status ?? {}) as { conditions?: Condition[] }
    const found = conditions.find(c => c.type === 'Available')
    if (found || Date.now() > deadline) return found
  }
}
