import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { externalMetric, metricsPage, reconcileInterval, setReplicas } from '../../../src/cluster/autoscaling.ts'
import { controllerNamespace, decode, namespace, page, ScaledStack } from '../modes/scaled-stack.ts'

let stack: ScaledStack
const never = new AbortController().signal
beforeAll(async () => {
  stack = await ScaledStack.start()
  await stack.until('a pod', () => stack.pods().length === 1)
})
beforeEach(() => stack.server.faults.clear())
afterAll(() => stack.close())

const cancelled = () => AbortSignal.abort(Object.assign(new Error('cancelled'), { name: 'AbortError' }))

describe('the metrics page of a pod', () => {
  const read = (signal = never) => metricsPage(stack.api, { namespace, name: `${decode}-1` }, 8200, signal)

  test('is read as it is', async () => {
    stack.metrics = response => void response.end(`# µ\n${page()}`)
    expect(await read()).toBe(`# µ\n${page()}`)
  })

  test('of more than 4 MiB is none, also when it does not end', async () => {
    let closed = false
    stack.metrics = response => {
      const more = setInterval(() => response.write('x'.repeat(1024 * 1024)), 50)
      response.on('close', () => {
        closed = true
        clearInterval(more)
      })
    }
    const began = performance.now()
    expect(await read()).toBeUndefined()
    // Long before the time is up after which no answer is waited for.
    expect(performance.now() - began).toBeLessThan(5000)
    await stack.until('the end of the stream', () => closed)
  })

  test.each<[string, (response: Parameters<ScaledStack['metrics']>[0]) => void]>([
    ['answers 500', response => void response.writeHead(500).end('x')],
    ['closes the connection', response => void response.destroy()],
  ])('of a pod that %s is none', async (_what, answer) => {
    stack.metrics = answer
    expect(await read()).toBeUndefined()
  })

  test('of a pod that is gone is none', async () => {
    expect(await metricsPage(stack.api, { namespace, name: 'gone' }, 8200, never)).toBeUndefined()
  })

  test('that may not be read is an error, not a silent pod', async () => {
    stack.server.faults.add({ match: r => r.path.includes('/proxy/metrics'), status: 403 })
    await expect(read()).rejects.toMatchObject({ status: 403 })
  })

  test('is not read by a step that was cancelled', async () => {
    await expect(read(cancelled())).rejects.toThrow('cancelled')
  })
})

describe('the external metric of a variant', () => {
  const read = (signal = never, timeoutMs?: number) =>
    externalMetric(
      stack.api,
      namespace,
      'inferno_desired_replicas',
      { variant_name: decode },
      { signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) },
    )

  test.each<[string, readonly unknown[], readonly number[]]>([
    ['one value', ['2'], [2]],
    ['a value in thousandths', ['1500m'], [1.5]],
    ['several values', ['1', '3'], [1, 3]],
    ['no value', [], []],
    ['a value that is none', ['NaN', null, {}, '4'], [4]],
    ['a number that is no text', [2], [2]],
  ])('is served with %s', async (_what, served, values) => {
    stack.values = () => served
    expect(await read()).toEqual({ status: 200, message: '', values })
  })

  test('of another variant is not taken for it', async () => {
    stack.values = () => ['2']
    const other = externalMetric(stack.api, namespace, 'm', { variant_name: 'other' }, { signal: never })
    expect(await other).toMatchObject({ status: 200, values: [] })
  })

  test.each([404, 403, 503])('that is refused with %d is that status, and no exception', async status => {
    stack.server.faults.add({ match: r => r.path.includes('external.metrics'), status, message: 'for a reason' })
    expect(await read()).toEqual({ status, message: expect.stringContaining('for a reason'), values: [] })
  })

  test('that does not come in time is no answer', async () => {
    stack.server.faults.add({ match: r => r.path.includes('external.metrics'), delayMs: 1500 })
    const began = performance.now()
    expect(await read(never, 200)).toEqual({ status: 0, message: 'no answer in 0.2 s', values: [] })
    expect(performance.now() - began).toBeLessThan(1200)
  })

  test('is not waited for by a step that was cancelled', async () => {
    await expect(read(cancelled())).rejects.toThrow('cancelled')
  })
})

describe('the interval of the controller', () => {
  const name = 'workload-variant-autoscaler-variantautoscaling-config'
  const read = () => reconcileInterval(stack.api, controllerNamespace, never)

  test('is 60 s where nothing says otherwise, also without the right to look', async () => {
    expect(await read()).toBe(60_000)
    stack.server.faults.add({ match: r => r.path.endsWith(name), status: 403 })
    expect(await read()).toBe(60_000)
  })

  test('is what its ConfigMap says, as far as that is a duration', async () => {
    stack.server.store.create({
      ...{ apiVersion: 'v1', kind: 'ConfigMap', data: { GLOBAL_OPT_INTERVAL: '1m30s' } },
      metadata: { name, namespace: controllerNamespace },
    })
    expect(await read()).toBe(90_000)
    stack.server.store.modify('configmaps', controllerNamespace, name, draft => {
      draft.data = { GLOBAL_OPT_INTERVAL: 'soon' }
    })
    expect(await read()).toBe(60_000)
    stack.server.store.modify('configmaps', controllerNamespace, name, draft => {
      delete draft.data
    })
    expect(await read()).toBe(60_000)
  })

  test('is not guessed where the server fails', async () => {
    stack.server.faults.add({ match: r => r.path.endsWith(name), status: 418 })
    await expect(read()).rejects.toMatchObject({ status: 418 })
  })
})

test('the number of replicas is set through the scale subresource, and the Deployment stays ours to apply', async () => {
  const from = stack.asked
  await setReplicas(stack.api, namespace, decode, 2, never)
  expect(stack.writes(from)).toEqual(['PATCH scale'])
  const { spec, metadata } = stack.server.store.get('deployments.apps', namespace, decode)!
  expect(spec).toMatchObject({ replicas: 2 })
  const entries = metadata.managedFields as { subresource?: string; fieldsV1?: object }[]
  expect(entries.filter(e => JSON.stringify(e.fieldsV1).includes('f:replicas')).map(e => e.subresource)).toContain(
    'scale',
  )
})
