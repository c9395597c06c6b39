import http from 'node:http'
import type { GatewayConfig, PoolBackend } from '../gateway/config.ts'
import { bindAddress, drainOnTerminate, fetchText, forward } from './wire.ts'

/**
 * The gateway's data plane. Its configuration comes from the controller as lines of JSON over one long request, the
 * way a real proxy is told by xDS; it keeps the last one when the controller is away.
 */
const host = bindAddress('0.0.0.0')
const discovery = process.env.DISCOVERY_URL
const trafficPort = Number(process.env.GATEWAY_PORT ?? 8080)
const statusPort = Number(process.env.STATUS_PORT ?? 15021)
const retryMs = 500
let config: GatewayConfig | undefined

function subscribe(): void {
  const again = () => setTimeout(subscribe, retryMs)
  const request = http.get(discovery!, answer => {
    let rest = ''
    answer.setEncoding('utf8')
    answer.on('data', (part: string) => {
      const lines = (rest + part).split('\n')
      rest = lines.pop()!
      const last = lines.findLast(line => line !== '')
      if (last !== undefined) config = JSON.parse(last)
    })
    answer.on('close', again)
  })
  request.on('error', again)
}

/** The rule with the longest matching prefix; a prefix matches whole path segments. */
function ruleFor(path: string): { backend: PoolBackend | undefined; path: string } | undefined {
  let best: { prefix: string; rule: GatewayConfig['rules'][number] } | undefined
  for (const rule of config?.rules ?? []) {
    const prefix = (rule.prefix ?? '/').replace(/\/+$/, '')
    if (path !== prefix && !path.startsWith(`${prefix}/`) && !path.startsWith(`${prefix}?`)) continue
    if (best === undefined || prefix.length > best.prefix.length) best = { prefix, rule }
  }
  if (best === undefined) return undefined
  const { prefix, rule } = best
  const rest = path.slice(prefix.length)
  return {
    backend: rule.backend,
    path:
      rule.rewrite === undefined
        ? path
        : `${rule.rewrite.replace(/\/+$/, '')}${rest.startsWith('/') ? rest : `/${rest}`}`,
  }
}

/** The replica that the endpoint picker names. Without an answer the request fails: the filter fails closed. */
async function pick(backend: PoolBackend): Promise<string | undefined> {
  const [pickerHost, port] = backend.picker!.split(':') as [string, string]
  const { status, body } = await fetchText({ host: pickerHost, port: Number(port), path: '/pick' }, 2_000)
  return status === 200 ? body : undefined
}

async function serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  const refuse = (status: number, text: string) =>
    response.writeHead(status, { 'content-type': 'text/plain', server: 'istio-envoy' }).end(text)
  const rule = ruleFor(request.url!)
  if (rule === undefined) return void refuse(404, '')
  const { backend } = rule
  if (backend === undefined) return void refuse(500, '')
  if (backend.ready.length === 0) return void refuse(503, 'no healthy upstream')
  if (backend.picker === undefined) return void refuse(500, '')
  let chosen: string | undefined
  try {
    chosen = await pick(backend)
  } catch {
    return void refuse(500, '')
  }
  if (chosen === undefined) return void refuse(503, 'no healthy upstream')
  const [to, port] = chosen.split(':') as [string, string]
  forward(request, response, { host: to, port: Number(port), path: rule.path }, error => {
    refuse(503, `upstream connect error or disconnect/reset before headers. reset reason: ${error.message}`)
  })
}

if (discovery === undefined) {
  console.error('error: DISCOVERY_URL is not set: there is no control plane to ask')
  process.exit(1)
}
subscribe()
const traffic = http.createServer((request, response) => void serve(request, response))
traffic.keepAliveTimeout = 75_000
const status = http.createServer(
  (_request, response) => void response.writeHead(config === undefined ? 503 : 200).end(),
)
drainOnTerminate(traffic)
traffic.listen(trafficPort, host)
status.listen(statusPort, host, () => {
  const ports = [traffic, status].map(s => (s.address() as { port: number }).port)
  console.log(`info Envoy proxy double is listening on ${host}, traffic ${ports[0]}, status ${ports[1]}`)
})
