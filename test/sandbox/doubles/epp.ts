import http from 'node:http'
import net from 'node:net'
import { inClusterClient } from '../gateway/in-cluster.ts'
import { Informer } from '../gateway/informer.ts'
import { poolTarget, readyAddress, selects } from '../gateway/pods.ts'
import { best, loadOf, type ReplicaLoad } from './scorer.ts'
import { bindAddress, drainOnTerminate, fetchText, flagsOf } from './wire.ts'

/**
 * The endpoint picker: watches the pods of its pool, scrapes them while there is traffic, and names the best one to
 * whoever asks. The health port opens when the pool has been seen, whether or not a replica is up.
 */
const flags = flagsOf(process.argv.slice(2))
const required = (name: string): string => {
  const value = flags.get(name)
  if (value !== undefined) return value
  console.error(JSON.stringify({ level: 'error', msg: `required --${name} flag not set` }))
  process.exit(1)
}
const poolName = required('pool-name')
const namespace = flags.get('pool-namespace') ?? process.env.NAMESPACE ?? 'default'
const group = flags.get('pool-group') ?? 'inference.networking.k8s.io'
const host = bindAddress('0.0.0.0')
const port = (name: string, otherwise: number) => Number(flags.get(name) ?? otherwise)
const say = (msg: string) => console.log(JSON.stringify({ level: 'info', ts: new Date().toISOString(), msg }))
/** The real picker refreshes every 50 ms; requests sent in between are counted, so a slower pace costs little accuracy. */
const scrapeMs = 200
/** Scraping goes on this long after the last request. */
const idleMs = 2_000

const ending = new AbortController()
const client = inClusterClient()
const loads = new Map<string, ReplicaLoad>()
let lastPick = Number.NEGATIVE_INFINITY
let picks = 0
let healthy = false

const pools = new Informer(client, `/apis/${group}/v1/namespaces/${namespace}/inferencepools`, refresh)
const pods = new Informer(client, `/api/v1/namespaces/${namespace}/pods`, refresh)
const health = net.createServer(socket => socket.on('error', () => undefined).end())

function refresh(): void {
  const pool = pools.items.get(`${namespace}/${poolName}`)
  if (pool === undefined) {
    loads.clear()
    return
  }
  const { matchLabels, port: target } = poolTarget(pool)
  const ready = new Set<string>()
  for (const pod of pods.items.values()) {
    const address = selects(matchLabels, pod) ? readyAddress(pod) : undefined
    if (address !== undefined) ready.add(`${address}:${target}`)
  }
  for (const endpoint of loads.keys()) if (!ready.has(endpoint)) loads.delete(endpoint)
  for (const endpoint of ready) {
    if (!loads.has(endpoint)) loads.set(endpoint, { endpoint, waiting: 0, running: 0, kvUsage: 0, sent: 0 })
  }
  if (healthy || !pods.synced) return
  healthy = true
  health.listen(port('grpc-health-port', 9003), host, () =>
    say(`pool ${poolName} has synced, ${ready.size} endpoint(s) ready`),
  )
}

async function scrape(): Promise<void> {
  if (performance.now() - lastPick < idleMs) {
    await Promise.all(
      [...loads.keys()].map(async endpoint => {
        const [address, target] = endpoint.split(':') as [string, string]
        const page = await fetchText({ host: address, port: Number(target), path: '/metrics' }, 1_000).catch(
          () => undefined,
        )
        if (page?.status === 200 && loads.has(endpoint))
          loads.set(endpoint, { endpoint, ...loadOf(page.body), sent: 0 })
      }),
    )
  }
  setTimeout(scrape, scrapeMs)
}

const picker = http.createServer((_request, response) => {
  lastPick = performance.now()
  const endpoint = best([...loads.values()])
  if (endpoint === undefined) return void response.writeHead(503).end('failed to find candidate pods')
  const load = loads.get(endpoint)!
  loads.set(endpoint, { ...load, sent: load.sent + 1 })
  picks++
  response.writeHead(200, { 'content-type': 'text/plain' }).end(endpoint)
})
picker.keepAliveTimeout = 75_000
const metrics = http.createServer((_request, response) => {
  const lines = [
    `inference_pool_ready_pods{name="${poolName}"} ${loads.size}`,
    `inference_objective_request_total{pool="${poolName}"} ${picks}`,
  ]
  response.writeHead(200, { 'content-type': 'text/plain' }).end(`${lines.join('\n')}\n`)
})
picker.listen(port('grpc-port', 9002), host)
metrics.listen(port('metrics-port', 9090), host)
drainOnTerminate(picker, () => ending.abort())
void pools.run(ending.signal)
void pods.run(ending.signal)
void scrape()
