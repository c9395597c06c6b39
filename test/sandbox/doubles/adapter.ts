import { readFileSync } from 'node:fs'
import type http from 'node:http'
import { durationMs } from '../wva/durations.ts'
import {
  externalGroup,
  failure,
  type Metric,
  metricQuery,
  metricsOf,
  readRules,
  resourceList,
  valueList,
} from '../wva/external-metrics.ts'
import { PrometheusClient } from '../wva/prometheus-client.ts'
import { timestamp } from '../wva/variants.ts'
import { answerJson, webServer } from '../wva/web.ts'
import { bindAddress, drainOnTerminate, flagsOf } from './wire.ts'

/** prometheus-adapter with external rules only. Which metrics exist is learned at each relist; their values are always asked for anew. */
const flags = flagsOf(process.argv.slice(2))
const required = (name: string): string => {
  const value = flags.get(name)
  if (value !== undefined) return value
  console.error(`E unable to run: --${name} is required`)
  process.exit(1)
}
const prometheus = new PrometheusClient(required('prometheus-url'))
const relistMs = durationMs(flags.get('metrics-relist-interval') ?? '10m')
const rules = readRules(readFileSync(required('config'), 'utf8'))
const root = `/apis/${externalGroup}`
let metrics = new Map<string, Metric>()

async function relist(): Promise<void> {
  try {
    const found = new Map<string, Metric>()
    const start = Date.now() - relistMs
    for (const rule of rules) {
      const series = await prometheus.series(rule.seriesQuery, start)
      for (const [name, metric] of metricsOf(rule, series)) if (!found.has(name)) found.set(name, metric)
    }
    metrics = found
  } catch (error) {
    console.error(`E unable to update list of all metrics: ${(error as Error).message}`)
  }
  setTimeout(() => void relist(), relistMs)
}

async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const url = new URL(request.url!, 'https://localhost')
  const path = url.pathname.replace(/\/$/, '')
  if (['/healthz', '/readyz', '/livez'].includes(path)) return void response.end('ok')
  if (path === root) return answerJson(response, 200, resourceList([...metrics.keys()].sort()))
  const [, namespace, name] = new RegExp(`^${root}/namespaces/([^/]+)/([^/]+)$`).exec(path) ?? []
  const metric = metrics.get(decodeURIComponent(name ?? ''))
  if (namespace === undefined || name === undefined || metric === undefined) {
    const what = name === undefined ? 'resource' : `metric ${name}`
    return answerJson(response, 404, failure(404, 'NotFound', `the server could not find the ${what} for ${path}`))
  }
  try {
    const query = metricQuery(metric, namespace, url.searchParams.get('labelSelector') ?? '')
    const points = await prometheus.vector(query)
    answerJson(response, 200, valueList(name, points, timestamp(new Date())))
  } catch (error) {
    const why = `unable to fetch metrics: ${(error as Error).message}`
    answerJson(response, 500, failure(500, 'InternalError', why))
  }
}

const server = await webServer(true, (request, response) => void answer(request, response))
server.listen(Number(flags.get('secure-port') ?? 6443), bindAddress('0.0.0.0'))
drainOnTerminate(server)
void relist()
