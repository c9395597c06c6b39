import http from 'node:http'
import { bindAddress, drainOnTerminate, flagsOf, forward } from './wire.ts'

// The proxy in front of vLLM in the same pod: everything passes, and nothing but 502 is heard while vLLM is down.
const flags = flagsOf(process.argv.slice(2))
const host = bindAddress('0.0.0.0')
const vllmHost = bindAddress('127.0.0.1')
const vllmPort = Number(flags.get('vllm-port') ?? 8001)
const say = (msg: string) =>
  console.log(JSON.stringify({ level: 'info', ts: new Date().toISOString(), logger: 'proxy server', msg }))

const server = http.createServer((request, response) => {
  forward(request, response, { host: vllmHost, port: vllmPort, path: request.url! }, error => {
    response.writeHead(502, { 'content-type': 'text/plain' }).end(`vLLM is not reachable: ${error.message}\n`)
  })
})
server.keepAliveTimeout = 75_000
drainOnTerminate(server)
server.listen(Number(flags.get('port') ?? 8000), host, () => {
  say(
    `starting on ${host}:${(server.address() as { port: number }).port}, decoder ${vllmHost}:${vllmPort}, connector ${flags.get('connector') ?? 'nixlv2'}`,
  )
})
