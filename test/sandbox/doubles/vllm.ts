import { readFileSync } from 'node:fs'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Engine, parametersFrom, type Sequence } from './engine.ts'
import { parseServe } from './vllm-args.ts'
import { VllmMetrics } from './vllm-metrics.ts'
import { bindAddress, drainOnTerminate, fetchText, route } from './wire.ts'

/** A request that is being answered. */
interface Open {
  readonly id: string
  readonly response: http.ServerResponse
  readonly body: { stream?: boolean; stream_options?: { include_usage?: boolean; continuous_usage_stats?: boolean } }
  readonly chat: boolean
  readonly promptTokens: number
  readonly beforeText: string
  firstAt: number
  text: string
  pending: string
  flushedAt: number
}

const words = ' the of a in to and on for with from by at as its over under after before between near'
  .split(' ')
  .slice(1)
const log = (line: string) => console.log(`INFO ${new Date().toISOString().slice(5, 19).replace('T', ' ')} ${line}`)

/** Stand-in for a tokenizer: one token per word. */
export function countTokens(text: string): number {
  return text.match(/\S+/g)?.length ?? 0
}

const parsed = parseServe(process.argv.slice(2))
if (typeof parsed === 'string') {
  console.error(`usage: vllm serve [model_tag] [options]\nvllm: error: ${parsed}`)
  process.exit(2)
}
const { model: source, options } = parsed
await checkWeights()
const name = options.get('served-model-name') ?? source
const maxModelLen = Number(options.get('max-model-len') ?? 131072)
const blockSize = Number(options.get('block-size') ?? 16)
const parameters = parametersFrom(
  process.env,
  options.has('max-num-seqs') ? Number(options.get('max-num-seqs')) : undefined,
)
/** Simulated milliseconds per real one. */
const speed = Number(process.env.SIM_SPEED ?? 1)
const created = Math.floor(Date.now() / 1000)
const metrics = new VllmMetrics()
const open = new Map<Sequence, Open>()
const engine = new Engine(parameters, onToken)
const now = () => performance.now() * speed
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
  try {
    const at = route(
      new URL(`${process.env.HF_ENDPOINT ?? 'http://huggingface.co'}/${source}/resolve/main/config.json`),
    )
    const { status } = await fetchText(
      { ...at, headers: { ...at.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) } },
      10_000,
    )
    if (status !== 200)
      fail(`You are trying to access a gated repo or ${source} is not a valid model identifier (${status})`)
  } catch (error) {
    fail(`We couldn't connect to the model hub to load ${source}: ${(error as Error).message}`)
  }
}

/** Runs the engine up to now and sleeps until its next step ends: one timer, however many requests are open. */
function turn(): void {
  clearTimeout(timer)
  engine.advance(now())
  // The more streams, the longer a token that is neither first nor last may wait for its packet: about 1,000 writes per second at most.
  const patienceMs = 20 + engine.running.length
  const at = performance.now()
  for (const sequence of engine.running) {
    const request = open.get(sequence)
    if (request?.pending && at - request.flushedAt >= patienceMs) flush(request, at)
  }
  const wake = engine.wakeAtMs
  timer = wake === undefined ? undefined : setTimeout(turn, Math.max(1, (wake - now()) / speed))
}

function flush(request: Open, at: number): void {
  request.response.write(request.pending)
  request.pending = ''
  request.flushedAt = at
}

function onToken(sequence: Sequence, atMs: number): void {
  const request = open.get(sequence)
  if (request === undefined) return
  const first = sequence.produced === 1
  const last = sequence.produced >= sequence.maxTokens
  metrics.token()
  if (first) {
    request.firstAt = atMs
    metrics.firstToken((atMs - sequence.arrivedMs) / 1000 / speed, request.promptTokens)
  }
  const word = ` ${words[(sequence.produced * 7 + request.promptTokens) % words.length]}`
  const usage = {
    prompt_tokens: request.promptTokens,
    total_tokens: request.promptTokens + sequence.produced,
    completion_tokens: sequence.produced,
  }
  if (request.body.stream) {
    const finish = last ? '"length"' : 'null'
    const choice = request.chat
      ? `{"index":0,"delta":{"content":"${word}"},"logprobs":null,"finish_reason":${finish}}`
      : `{"index":0,"text":"${word}","logprobs":null,"finish_reason":${finish},"stop_reason":null}`
    const tail = request.body.stream_options?.continuous_usage_stats ? `,"usage":${JSON.stringify(usage)}` : ''
    request.pending += `data: ${request.beforeText}[${choice}]${tail}}\n\n`
  } else request.text += word
  if (!last) {
    if (first && request.body.stream) flush(request, performance.now())
    return
  }
  open.delete(sequence)
  metrics.finished('length', {
    seconds: (atMs - sequence.arrivedMs) / 1000 / speed,
    decodeSeconds: (atMs - request.firstAt) / 1000 / speed,
    promptTokens: request.promptTokens,
    outputTokens: sequence.produced,
  })
  if (request.body.stream) {
    const total = request.body.stream_options?.include_usage
      ? `data: ${request.beforeText}[],"usage":${JSON.stringify(usage)}}\n\n`
      : ''
    request.response.end(`${request.pending}${total}data: [DONE]\n\n`)
  } else {
    const choice = request.chat ? { message: { role: 'assistant', content: request.text } } : { text: request.text }
    answer(request.response, 200, {
      id: request.id,
      object: request.chat ? 'chat.completion' : 'text_completion',
      created,
      model: name,
      choices: [{ index: 0, ...choice, logprobs: null, finish_reason: 'length' }],
      usage,
    })
  }
}

function answer(response: http.ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body)
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    .end(text)
}

const refuse = (response: http.ServerResponse, code: number, type: string, message: string) =>
  answer(response, code, { error: { message, type, param: null, code } })

function complete(request: http.IncomingMessage, response: http.ServerResponse, text: string): void {
  const chat = request.url!.startsWith('/v1/chat/')
  let body: {
    model?: string
    prompt?: unknown
    messages?: { content?: unknown }[]
    max_tokens?: number
    max_completion_tokens?: number
  } & Open['body']
  try {
    body = JSON.parse(text)
  } catch (error) {
    return refuse(response, 400, 'BadRequestError', `JSON decode error: ${(error as Error).message}`)
  }
  if (body.model !== undefined && body.model !== name)
    return refuse(response, 404, 'NotFoundError', `The model \`${body.model}\` does not exist.`)
  const prompt = chat ? (body.messages ?? []).map(m => String(m.content ?? '')).join(' ') : String(body.prompt ?? '')
  const promptTokens = countTokens(prompt)
  if (promptTokens === 0) return refuse(response, 400, 'BadRequestError', 'The prompt is empty.')
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? (chat ? maxModelLen - promptTokens : 16)
  if (!(maxTokens >= 1))
    return refuse(response, 400, 'BadRequestError', `max_tokens must be at least 1, got ${maxTokens}.`)
  if (promptTokens + maxTokens > Math.min(maxModelLen, parameters.kvTokens)) {
    const asked = `${promptTokens + maxTokens} tokens (${promptTokens} in the messages, ${maxTokens} in the completion)`
    return refuse(
      response,
      400,
      'BadRequestError',
      `This model's maximum context length is ${maxModelLen} tokens. However, you requested ${asked}.`,
    )
  }
  const id = `${chat ? 'chatcmpl' : 'cmpl'}-${process.pid.toString(16)}-${(++count).toString(16)}`
  const object = chat ? 'chat.completion.chunk' : 'text_completion'
  const beforeText = `{"id":"${id}","object":"${object}","created":${created},"model":${JSON.stringify(name)},"choices":`
  if (body.stream) {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
    response.flushHeaders()
    if (chat)
      response.write(
        `data: ${beforeText}[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n`,
      )
  }
  const sequence = engine.submit(promptTokens, maxTokens, now())
  open.set(sequence, {
    id,
    response,
    body,
    chat,
    promptTokens,
    beforeText,
    firstAt: 0,
    text: '',
    pending: '',
    flushedAt: 0,
  })
  response.on('close', () => {
    if (!open.delete(sequence)) return
    engine.cancel(sequence)
    metrics.finished('abort', {
      seconds: (now() - sequence.arrivedMs) / 1000 / speed,
      decodeSeconds: 0,
      promptTokens,
      outputTokens: sequence.produced,
    })
  })
  turn()
}

const server = http.createServer((request, response) => {
  const path = request.url!.split('?')[0]!
  request.socket.setNoDelay(true)
  if (request.method === 'POST' && (path === '/v1/completions' || path === '/v1/chat/completions')) {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => complete(request, response, Buffer.concat(parts).toString('utf8')))
  } else if (request.method !== 'GET') answer(response, path.startsWith('/v1/') ? 405 : 404, { detail: 'Not Found' })
  else if (path === '/health' || path === '/ping') response.writeHead(200, { 'content-length': 0 }).end()
  else if (path === '/version') answer(response, 200, { version: '0.11.2' })
  else if (path === '/metrics') {
    response
      .writeHead(200, { 'content-type': 'text/plain; version=0.0.4' })
      .end(metrics.render(engine, name, { kvTokens: parameters.kvTokens, blockSize }))
  } else if (path === '/v1/models') {
    const entry = {
      id: name,
      object: 'model',
      created,
      owned_by: 'vllm',
      root: source,
      parent: null,
      max_model_len: maxModelLen,
      permission: [],
    }
    answer(response, 200, { object: 'list', data: [entry] })
  } else answer(response, 404, { detail: 'Not Found' })
})
server.keepAliveTimeout = 75_000

drainOnTerminate(server, () => log(`Shutting down, ${open.size} request(s) in flight.`))

log(
  `Starting the vLLM API server double for ${name}, not a real engine: queueing model ${JSON.stringify(parameters)}, speed ${speed}`,
)
await sleep(Number(process.env.SIM_START_SECONDS ?? 0) * 1000)
const host = bindAddress(options.get('host') ?? '127.0.0.1')
server.listen(Number(options.get('port') ?? 8000), host, () => {
  const { port } = server.address() as { port: number }
  log(`Application startup complete. Listening on http://${host}:${port}`)
})
