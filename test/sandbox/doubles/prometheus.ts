import type http from 'node:http'
import { inClusterClient } from '../gateway/in-cluster.ts'
import { Informer } from '../gateway/informer.ts'
import { durationMs } from '../wva/durations.ts'
import { parseExposition } from '../wva/exposition.ts'
import { answerQuery } from '../wva/query-api.ts'
import { SampleStore, TargetSeries } from '../wva/samples.ts'
import { type Target, targetsOf } from '../wva/targets.ts'
import { answerJson, getPage, portOf, webServer } from '../wva/web.ts'
import { bindAddress, drainOnTerminate, flagsOf } from './wire.ts'

/**
 * Prometheus together with its operator: scrapes what the ServiceMonitors of the cluster name and answers instant
 * queries. `--scrape-interval` overrides every interval, `--tls` serves the API over https.
 */
const flags = flagsOf(process.argv.slice(2))
const interval = flags.get('scrape-interval')
const overrideMs = interval === undefined ? undefined : durationMs(interval)
const chosen = Object.fromEntries(
  (flags.get('service-monitor-selector') ?? '')
    .split(',')
    .filter(pair => pair.includes('='))
    .map(pair => pair.split('=') as [string, string]),
)
const store = new SampleStore(durationMs(flags.get('storage.tsdb.retention.time') ?? '10m'))
const say = (msg: string) => console.log(`time=${new Date().toISOString()} level=INFO msg=${JSON.stringify(msg)}`)
/** Changes of the cluster within this time are one discovery. */
const settleMs = 50
const pruneMs = 5_000

interface Scraped {
  readonly series: TargetSeries
  timer: NodeJS.Timeout | undefined
}
const scraped = new Map<string, Scraped>()
const ending = new AbortController()
const client = inClusterClient()
const monitors = new Informer(client, '/apis/monitoring.coreos.com/v1/servicemonitors', discoverSoon)
const services = new Informer(client, '/api/v1/services', discoverSoon)
const pods = new Informer(client, '/api/v1/pods', discoverSoon)
const all = [monitors, services, pods]
let discovery: NodeJS.Timeout | undefined

function discoverSoon(): void {
  if (discovery === undefined) discovery = setTimeout(discover, settleMs)
}

function discover(): void {
  discovery = undefined
  if (!all.every(informer => informer.synced)) return
  const targets = targetsOf({ monitors: monitors.items, services: services.items, pods: pods.items }, chosen)
  for (const [key, { series, timer }] of scraped) {
    if (targets.has(key)) continue
    clearTimeout(timer)
    scraped.delete(key)
    series.gone(Date.now())
    say(`target is gone: ${key}`)
  }
  for (const [key, target] of targets) {
    if (scraped.has(key)) continue
    const entry: Scraped = { series: new TargetSeries(store, target.labels), timer: undefined }
    scraped.set(key, entry)
    say(`new target: ${key}`)
    void scrape(target, entry)
  }
}

async function scrape(target: Target, entry: Scraped): Promise<void> {
  const began = Date.now()
  const everyMs = overrideMs ?? target.intervalMs
  const timeoutMs = Math.max(1_000, Math.min(everyMs, 10_000))
  const page = await getPage(new URL(target.url), { timeoutMs, byPodAddress: true }).catch(() => undefined)
  // Gone meanwhile, and maybe back with a loop of its own.
  if (scraped.get(target.key) !== entry) return
  entry.series.scraped(page?.status === 200 ? linesOf(page.body, target) : undefined, Date.now())
  entry.timer = setTimeout(() => void scrape(target, entry), Math.max(20, began + everyMs - Date.now()))
}

function linesOf(page: string, target: Target) {
  try {
    return parseExposition(page)
  } catch (error) {
    say(`scrape of ${target.url} failed: ${(error as Error).message}`)
    return undefined
  }
}

async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const url = new URL(request.url!, 'http://localhost')
  if (url.pathname === '/-/healthy') return void response.end('Prometheus Server is Healthy.\n')
  if (url.pathname === '/-/ready') {
    const ready = all.every(informer => informer.synced)
    return void response.writeHead(ready ? 200 : 503).end()
  }
  const parameters = url.searchParams
  // Clients send long queries as a form.
  if (request.method === 'POST') {
    let form = ''
    for await (const part of request) form += String(part)
    for (const [name, value] of new URLSearchParams(form)) parameters.append(name, value)
  }
  const found = answerQuery(url.pathname, parameters, store, Date.now())
  if (found === undefined) response.writeHead(404).end('404 page not found\n')
  else answerJson(response, found.status, found.body)
}

const server = await webServer(flags.get('tls') === 'true', (request, response) => void answer(request, response))
server.listen(portOf(flags.get('web.listen-address') ?? '0.0.0.0:9090'), bindAddress('0.0.0.0'), () =>
  say('Server is ready to receive web requests.'),
)
drainOnTerminate(server, () => ending.abort())
setInterval(() => store.prune(Date.now()), pruneMs)
for (const informer of all) void informer.run(ending.signal)
