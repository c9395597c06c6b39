import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { Api } from '../../../src/cluster/api.ts'
import { Observer } from '../../../src/cluster/observer.ts'
import { sample } from '../../../src/modes/sample.ts'
import { watchScalers } from '../../../src/modes/scalers.ts'
import type { WatchEvent } from '../../../src/results/schema.ts'
import { decode, namespace, page, ScaledStack, spec } from './scaled-stack.ts'

let stack: ScaledStack
beforeEach(async () => {
  stack = await ScaledStack.start()
  await stack.until('a pod', () => stack.pods().length === 1)
})
afterEach(() => stack.close())

/** One round of what is asked every five seconds. */
async function sampled(done: (events: readonly WatchEvent[]) => boolean, options: { wva?: boolean; api?: Api } = {}) {
  const observer = new Observer(stack.api, namespace, stack.log, stack.stop.signal)
  await watchScalers(observer, spec.stack)
  const events: WatchEvent[] = []
  const stop = new AbortController()
  const of = { namespace, deployment: decode, wva: options.wva ?? true, view: observer.view }
  const ended = sample(options.api ?? stack.api, of, events, { signal: stop.signal, log: stack.log })
  await stack.until('the events', () => done(events))
  stop.abort()
  await ended
  await observer.close()
  return events
}
const has =
  (kind: WatchEvent['kind'], n = 1) =>
  (events: readonly WatchEvent[]) =>
    events.filter(e => e.kind === kind).length >= n

describe('what no watch shows', () => {
  test('is recorded: the queue of every model server, and the external metric', async () => {
    stack.metrics = response => void response.end(page({ running: 3, waiting: 2 }))
    stack.values = () => ['1500m']
    const before = Date.now()
    const events = await sampled(e => has('Replica')(e) && has('ExternalMetric')(e))
    expect(events.toSorted((a, b) => (a.kind < b.kind ? -1 : 1))).toEqual([
      { at: expect.any(Number), kind: 'ExternalMetric', name: decode, value: 1.5 },
      { at: expect.any(Number), kind: 'Replica', name: `${decode}-1`, waiting: 2, running: 3, kvUsage: 0.25 },
    ])
    for (const { at } of events) expect(at).toBeGreaterThanOrEqual(before)
  })

  test('several values are added up, as an HPA does, and none is null', async () => {
    stack.values = () => [1, 2]
    expect(await sampled(has('ExternalMetric'))).toContainEqual(expect.objectContaining({ value: 3 }))
    stack.values = () => []
    expect(await sampled(has('ExternalMetric'))).toContainEqual(expect.objectContaining({ value: null }))
  })

  test('leaves the external metric out in a leg without WVA, and a pod that is going', async () => {
    stack.scale(2)
    await stack.until('two pods', () => stack.pods().length === 2)
    const going = stack.pods()[1]!.metadata.name
    stack.server.store.modify('pods', namespace, going, draft => {
      draft.metadata.finalizers = ['example.com/hold']
    })
    stack.server.store.delete('pods', namespace, going)
    const events = await sampled(has('Replica'), { wva: false })
    expect(events.map(e => [e.kind, (e as { name: string }).name])).toEqual([['Replica', `${decode}-1`]])
  })

  test('a server that answers nonsense is left out, the others are not', async () => {
    stack.scale(2)
    await stack.until('two pods', () => stack.pods().length === 2)
    let turn = 0
    stack.metrics = response => void response.end(turn++ % 2 === 0 ? '<html>' : page())
    expect((await sampled(has('Replica'), { wva: false })).filter(e => e.kind === 'Replica')).toHaveLength(1)
  })
})

test('a right that is missing is said once, and the external metric is recorded all the same', async () => {
  const token = stack.server.tokens.add({ name: 'no-proxy', policy: a => a.subresource !== 'proxy' })
  const api = stack.open(token)
  const events = await sampled(has('ExternalMetric', 2), { api })
  expect(events.filter(e => e.kind === 'Replica')).toEqual([])
  expect(stack.lines.filter(l => l.includes('`get pods/proxy` is missing'))).toHaveLength(1)
  await api.close()
}, 20_000)
