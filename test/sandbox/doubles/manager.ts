import { randomUUID, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { inClusterClient } from '../gateway/in-cluster.ts'
import { Informer } from '../gateway/informer.ts'
import { Controller, type Say, variantsPath } from '../wva/controller.ts'
import { durationMs } from '../wva/durations.ts'
import { Gauges } from '../wva/gauges.ts'
import { Leader } from '../wva/leader.ts'
import { PrometheusClient } from '../wva/prometheus-client.ts'
import { portOf, webServer } from '../wva/web.ts'
import { bindAddress, flagsOf } from './wire.ts'

/**
 * The workload variant autoscaler's controller, version 0.4.2. Its answers to probes come after Prometheus answered, so
 * that one that cannot be reached looks like a container that never gets up.
 */
const flags = flagsOf(process.argv.slice(2))
const say: Say = (level, msg) => console.log(JSON.stringify({ level, ts: new Date().toISOString(), msg }))
function fail(msg: string): never {
  say('error', msg)
  process.exit(1)
}
const namespace = process.env.POD_NAMESPACE ?? 'workload-variant-autoscaler-system'
const baseUrl = process.env.PROMETHEUS_BASE_URL ?? fail('no Prometheus configuration found')
/** Waits between the attempts at Prometheus, in seconds. */
const patience = [5, 10, 20, 40, 80]
const retryMs = 5_000

if (!baseUrl.startsWith('https://')) fail('TLS configuration validation failed - HTTPS is required')
const caPath = process.env.PROMETHEUS_CA_CERT_PATH
// Read even where verification is off.
if (caPath) {
  try {
    new X509Certificate(readFileSync(caPath))
  } catch (error) {
    fail(`failed to parse CA certificate from ${caPath}: ${(error as Error).message}`)
  }
}
const prometheus = new PrometheusClient(baseUrl)
for (const seconds of [...patience, undefined]) {
  try {
    await prometheus.vector('up')
    break
  } catch (error) {
    const why = (error as Error).message
    if (seconds === undefined) fail(`CRITICAL: Failed to connect to Prometheus: ${why}`)
    say('error', `Prometheus API validation failed, retrying - query: up, error: ${why}`)
    await sleep(seconds * 1000)
  }
}
say('info', 'Prometheus client and API wrapper initialized and validated successfully')

const host = bindAddress('0.0.0.0')
const gauges = new Gauges()
const metrics = await webServer(flags.get('metrics-secure') !== 'false', (request, response) => {
  if (request.url !== '/metrics') return void response.writeHead(404).end()
  response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(gauges.render())
})
metrics.listen(portOf(flags.get('metrics-bind-address') ?? ':8443'), host)
http
  .createServer((request, response) => {
    response.writeHead(request.url === '/healthz' || request.url === '/readyz' ? 200 : 404).end('ok')
  })
  .listen(portOf(flags.get('health-probe-bind-address') ?? ':8081'), host)

const client = inClusterClient()
const ending = new AbortController()
const leader = new Leader(
  client,
  { name: '72dd1cf1.llm-d.ai', namespace },
  {
    identity: `${process.env.HOSTNAME ?? 'manager'}_${randomUUID()}`,
    durationMs: durationMs(process.env.LEASE_DURATION ?? '60s'),
  },
)
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    ending.abort()
    void leader.release().then(() => process.exit(0))
  })
}

if (flags.get('leader-elect') === 'true') {
  say('info', 'attempting to acquire leader lease')
  await leader.elected(ending.signal)
  say('info', 'successfully acquired lease')
  void leader.held(ending.signal).then(() => {
    if (!ending.signal.aborted) fail('leader election lost')
  })
}

const window = process.env.QUERY_WINDOW ?? '1m'
const controller = new Controller(client, prometheus, gauges, { namespace, window }, say)
let timer: NodeJS.Timeout | undefined
let busy = false
let again = false

async function pass(): Promise<void> {
  clearTimeout(timer)
  if (busy) {
    again = true
    return
  }
  busy = true
  let waitMs = retryMs
  try {
    waitMs = await controller.reconcile()
  } catch (error) {
    say('error', (error as Error).message)
  }
  busy = false
  if (ending.signal.aborted) return
  timer = setTimeout(() => void pass(), again ? 0 : waitMs)
  again = false
}

// A variant that appears is decided on at once; changes and deletions wait for the next pass.
let known = new Set<string>()
const variants = new Informer(client, variantsPath, () => {
  const uids = new Set([...variants.items.values()].map(va => va.metadata.uid ?? ''))
  const fresh = [...uids].some(uid => !known.has(uid))
  known = uids
  if (fresh) void pass()
})
void variants.run(ending.signal)
void pass()
