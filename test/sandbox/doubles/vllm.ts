import { readFileSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Engine, parametersFrom, type Sequence } from './engine.ts'
import { type Accepted, CompletionWriter, readCompletion } from './vllm-api.ts'
import { parseServe } from './vllm-args.ts'
import { VllmMetrics } from './vllm-metrics.ts'
import { bindAddress, drainOnTerminate, fetchText, route } from './wire.ts'

/** A request that is being answered. Times are milliseconds: `firstAt` simulated, `flushedAt` real. */
interface Open {
  readonly response: http.ServerResponse
  readonly request: Accepted
  readonly writer: CompletionWriter
  firstAt: number
  text: string
  pending: string
  flushedAt: number
}

const words = 'the of a in to and on for with from by at as its over under after before between near'.split(' ')
const log = (line: string) => console.log(`INFO ${new Date().toISOString().slice(5, 19).replace('T', ' ')} ${line}`)

const parsed = parseServe(process.argv.slice(2))
if (typeof parsed === 'string') {
  console.error(`usage: vllm serve [model_tag] [options]\nvllm: error: ${parsed}`)
  process.exit(2)
}
const { model: source, options } = parsed
await checkWeights()
const maxSeqs = options.get('max-num-seqs')
const parameters = parametersFrom(process.env, maxSeqs === undefined ? undefined : Number(maxSeqs))
const model = options.get('served-model-name') ?? source
const maxModelLen = Number(options.get('max-model-len') ?? 131072)
const serving = {
  model,
  maxModelLen,
  kvTokens: parameters.kvTokens,
  blockSize: Number(options.get('block-size') ?? 16),
}
/** Simulated milliseconds per real one. */
const speed = Number(process.env.SIM_SPEED ?? 1)
const created = Math.floor(Date.now() / 1000)
const metrics = new VllmMetrics()
const open = new Map<Sequence, Open>()
const engine = new Engine(parameters, onToken)
const now = () => performance.now() * speed
const realSeconds = (simulatedMs: number) => simulatedMs / 1000 / speed
let timer: NodeJS.Timeout | undefined
let count = 0

async function checkWeights(): Promise<void> {
  const fail = (line: string): never => {
    console.error(`OSError: ${line}`)
    process.exit(1)
  }
  if (/^[./]/.test(source)) {
    try {
      readFileSync(`${source}/config.json`)
    } catch {
      fail(`weights missing: ${source} does not appear to have a file named config.json`)
    }
    return
  }
  const token = process.env.HF_TOKEN
  let status = 0
  try {
    const at = route(
      new URL(`${process.env.HF_ENDPOINT ?? 'http://huggingface.co'}/${source}/resolve/main/config.json`),
    )
    const headers = { ...at.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) }
    status = (await fetchText({ ...at, headers }, 10_000)).status
  } catch (error) {
    fail(`We couldn't connect to the model hub to load ${source}: ${(error as Error).message}`)
  }
  if (status !== 200)
    fail(`You are trying to access a gated repo or ${source} is not a valid model identifier (${status})`)
}

/** Runs the engine up to now and sleeps until its next step ends: one timer, however many requests are open. */
function turn(): void {
  clearTimeout(timer)
  engine.advance(now())
  // The more streams, the longer a token that is neither first nor last waits for its packet: at most about 1,000 writes per second.
  const patienceMs = 20 + engine.running.length
  const at = performance.now()
  for (const sequence of engine.running) {
    const one = open.get(sequence)
    if (one?.pending && at - one.flushedAt >= patienceMs) flush(one, at)
  }
  const wake = engine.wakeAtMs
  timer = wake === undefined ? undefined : setTimeout(turn, Math.max(1, (wake - now()) / speed))
}

function flush(one: Open, at: number): void {
  one.response.write(one.pending)
  one.pending = ''
  one.flushedAt = at
}

function onToken(sequence: Sequence, atMs: number): void {
  const one = open.get(sequence)
  if (one === undefined) return
  const { promptTokens, stream } = one.request
  const { produced } = sequence
  const last = produced >= sequence.maxTokens
  metrics.token()
  if (produced === 1) {
    one.firstAt = atMs
    metrics.firstToken(realSeconds(atMs - sequence.arrivedMs), promptTokens)
  }
  const word = ` ${words[(produced * 7 + promptTokens) % words.length]}`
  if (stream) one.pending += one.writer.token(word, produced, last)
  else one.text += word
  if (!last) {
    if (produced === 1 && stream) flush(one, performance.now())
    return
  }
  open.delete(sequence)
  const times = { seconds: realSeconds(atMs - sequence.arrivedMs), decodeSeconds: realSeconds(atMs - one.firstAt) }
  metrics.finished('length', { ...times, promptTokens, outputTokens: produced })
  if (stream) one.response.end(one.pending + one.writer.closing(produced))
  else answer(one.response, 200, one.writer.whole(one.text, produced))
}

function answer(response: http.ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body)
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    .end(text)
}

function complete(response: http.ServerResponse, text: string, chat: boolean): void {
  const request = readCompletion(text, chat, serving)
  if ('code' in request) {
    const { code, type, message } = request
    answer(response, code, { error: { message, type, param: null, code } })
    return
  }
  const id = `${chat ? 'chatcmpl' : 'cmpl'}-${process.pid.toString(16)}-${(++count).toString(16)}`
  const writer = new CompletionWriter(request, id, model, created)
  if (request.stream) {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
    response.flushHeaders()
    if (writer.opening) response.write(writer.opening)
  }
  const { promptTokens } = request
  const sequence = engine.submit(promptTokens, request.maxTokens, now())
  open.set(sequence, { response, request, writer, firstAt: 0, text: '', pending: '', flushedAt: 0 })
  response.on('close', () => {
    if (!open.delete(sequence)) return
    engine.cancel(sequence)
    const seconds = realSeconds(now() - sequence.arrivedMs)
    metrics.finished('abort', { seconds, decodeSeconds: 0, promptTokens, outputTokens: sequence.produced })
  })
  turn()
}

const server = http.createServer((request, response) => {
  const path = request.url!.split('?')[0]!
  request.socket.setNoDelay(true)
  if (request.method === 'POST' && (path === '/v1/completions' || path === '/v1/chat/completions')) {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => complete(response, Buffer.concat(parts).toString('utf8'), path === '/v1/chat/completions'))
  } else if (request.method !== 'GET') answer(response, path.startsWith('/v1/') ? 405 : 404, { detail: 'Not Found' })
  else if (path === '/health' || path === '/ping') response.writeHead(200, { 'content-length': 0 }).end()
  else if (path === '/version') answer(response, 200, { version: '0.11.2' })
  else if (path === '/metrics') {
    response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(metrics.render(engine, model, serving))
  } else if (path === '/v1/models') {
    const entry = { id: model, object: 'model', created, owned_by: 'vllm', root: source, parent: null }
    answer(response, 200, { object: 'list', data: [{ ...entry, max_model_len: maxModelLen, permission: [] }] })
  } else answer(response, 404, { detail: 'Not Found' })
})
server.keepAliveTimeout = 75_000
drainOnTerminate(server, () => log(`Shutting down, ${open.size} request(s) in flight.`))

log(`Double of the vLLM API server for ${model}: queueing model ${JSON.stringify(parameters)}, speed ${speed}`)
await sleep(Number(process.env.SIM_START_SECONDS ?? 0) * 1000)
const host = bindAddress(options.get('host') ?? '127.0.0.1')
server.listen(Number(options.get('port') ?? 8000), host, () => {
  const { port } = server.address() as AddressInfo
  log(`Application startup complete. Listening on http://${host}:${port}`)
})
