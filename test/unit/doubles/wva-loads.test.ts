import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { parseExposition } from '../../sandbox/wva/exposition.ts'
import { hasMetrics, measuredLoad, replicaLoads } from '../../sandbox/wva/loads.ts'
import { PrometheusClient } from '../../sandbox/wva/prometheus-client.ts'
import { answerQuery } from '../../sandbox/wva/query-api.ts'
import { SampleStore, TargetSeries } from '../../sandbox/wva/samples.ts'

const now = Date.now()
const store = new SampleStore(600_000)
const server = http.createServer((request, response) => {
  const url = new URL(request.url!, 'http://localhost')
  const found = answerQuery(url.pathname, url.searchParams, store, now)
  response.writeHead(found?.status ?? 404).end(JSON.stringify(found?.body ?? 'not found'))
})
let prometheus: PrometheusClient
beforeAll(async () => {
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  prometheus = new PrometheusClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

/** A replica that was scraped 30 s ago and just now. */
function replica(pod: string, namespace: string, before: string, after: string): TargetSeries {
  const series = new TargetSeries(store, { pod, namespace })
  series.scraped(parseExposition(before), now - 30_000)
  series.scraped(parseExposition(after), now - 1)
  return series
}
const of = '{model_name="org/m"}'
const gauges = (kv: number, queue: number) =>
  `vllm:kv_cache_usage_perc${of} ${kv}\nvllm:num_requests_waiting${of} ${queue}\nvllm:num_requests_running${of} 0\n`
const counters = (requests: number, input: number, output: number, ttft: number, tpot: number) =>
  [
    `vllm:request_success_total${of} ${requests}`,
    ...[
      ['request_prompt_tokens', input],
      ['request_generation_tokens', output],
      ['time_to_first_token_seconds', ttft],
      ['time_per_output_token_seconds', tpot],
    ].flatMap(([name, sum]) => [`vllm:${name}_sum${of} ${sum}`, `vllm:${name}_count${of} ${requests}`]),
    '',
  ].join('\n')

replica('v-1', 'ns', gauges(0.9, 7) + counters(0, 0, 0, 0, 0), gauges(0.1, 0) + counters(10, 4000, 500, 2, 0.3))
replica('v-2', 'ns', gauges(0.2, 0), gauges(0.3, 1)).gone(now - 1)
replica('stranger-1', 'ns', gauges(0, 0), gauges(0, 0))
replica('v-1', 'elsewhere', gauges(1, 99), gauges(1, 99))
const where = { model: 'org/m', namespace: 'ns', window: '1m' }

describe('what the controller asks Prometheus', () => {
  test('the load of a replica is its peak over the window; one that is gone counts, one of nobody does not', async () => {
    const loads = await replicaLoads(prometheus, where, [{ name: 'v', pods: new Set(['v-1']) }])
    expect(loads).toEqual([
      { pod: 'v-1', variant: 'v', kv: 0.9, queue: 7 },
      { pod: 'v-2', variant: 'v', kv: 0.3, queue: 1 },
    ])
    const short = await replicaLoads(prometheus, { ...where, window: '10s' }, [{ name: 'v', pods: new Set() }])
    expect(short[0]).toMatchObject({ pod: 'v-1', kv: 0.1, queue: 0 })
  })

  test('the gate opens for metrics of the model, even if they are of another namespace', async () => {
    expect(await hasMetrics(prometheus, 'org/m', 'ns')).toBe(true)
    expect(await hasMetrics(prometheus, 'org/m', 'nowhere')).toBe(true)
    expect(await hasMetrics(prometheus, 'org/other', 'ns')).toBe(false)
  })

  test('the status shows completions per minute, mean tokens, and latencies in milliseconds; zeros where nothing is known', async () => {
    expect(await measuredLoad(prometheus, where)).toEqual({
      ...{ itlAverage: '30.00', ttftAverage: '200.00' },
      load: { arrivalRate: '20.00', avgInputTokens: '400.00', avgOutputTokens: '50.00' },
    })
    expect(await measuredLoad(prometheus, { ...where, model: 'org/other' })).toEqual({
      ...{ itlAverage: '0.00', ttftAverage: '0.00' },
      load: { arrivalRate: '0.00', avgInputTokens: '0.00', avgOutputTokens: '0.00' },
    })
  })

  test('a refused query is an error that says why', async () => {
    await expect(prometheus.vector('x{')).rejects.toThrow('400: parse error: unexpected end of input')
  })
})
