import { afterAll, expect, test } from '@jest/globals'
import { applyStack, refuseForeign } from '../../src/cluster/apply.ts'
import { apply } from '../../src/cluster/objects.ts'
import { describe as nameOf } from '../../src/cluster/resources.ts'
import { silentLog } from '../../src/log.ts'
import { configurations } from '../unit/stack/configurations.ts'
import { planOf } from '../unit/stack/specs.ts'
import { freshNamespace, open } from './ring.ts'

const api = open()
afterAll(() => api.close())

test.each(Object.keys(configurations()))(
  'a real API server takes every object of %s, strictly, and a second apply changes nothing',
  async name => {
    const spec = configurations(await freshNamespace(api), await freshNamespace(api))[name]!
    for (const object of planOf(spec)) {
      let first = await apply(api, object)
      // The server writes a claim once more without a visible change; standup leaves one that exists alone.
      if (object.kind === 'PersistentVolumeClaim') first = await apply(api, object)
      const second = await apply(api, object)
      expect([nameOf(object), second.metadata.resourceVersion]).toEqual([
        nameOf(object),
        first.metadata.resourceVersion,
      ])
      expect(first.metadata.managedFields).toMatchObject([{ manager: 'llm-d-bench-action', operation: 'Apply' }])
    }
  },
)

test('a second standup of a leg under WVA finds every object unchanged', async () => {
  const spec = configurations(await freshNamespace(api))['stack-wva']!
  const plan = planOf(spec)
  const options = { signal: AbortSignal.timeout(30_000), log: silentLog }
  const stand = async () => applyStack(api, plan, await refuseForeign(api, plan, spec.stack, options.signal), options)
  const all = plan.map(nameOf).sort()
  const first = await stand()
  expect([...first.created].sort()).toEqual(all)
  const second = await stand()
  expect(second).toMatchObject({ created: [], changed: [] })
  expect([...second.unchanged].sort()).toEqual(all)
})
