import { randomUUID } from 'node:crypto'
import http from 'node:http'
import { fetchText, route } from '../wire.ts'
import { type Prompt, prompts } from './prompts.ts'
import type { Scenario } from './scenario.ts'

export type Status = 'successful' | 'errored' | 'incomplete'

/** What happened to one request. Times are epoch seconds; a time that never came is null. */
export interface Exchange {
  readonly id: string
  readonly prompt: Prompt
  readonly body: Readonly<Record<string, unknown>>
  readonly targetedStart: number
  readonly queued: number
  requestStart: number
  firstIteration: number | null
  firstToken: number | null
  lastToken: number | null
  lastIteration: number | null
  /** Lines of the stream, blank ones included. */
  iterations: number
  tokenIterations: number
  requestEnd: number | null
  resolveEnd: number
  status: Status
  error: string | null
  responseId: string | null
  text: string
  usage: { prompt_tokens: number; completion_tokens: number } | undefined
}

/** One rate of a run. */
export interface Step {
  readonly rate: number
  readonly startTime: number
  readonly endTime: number
  readonly exchanges: readonly Exchange[]
}

/** Epoch seconds with the resolution of the monotonic clock. */
export const epoch = (): number => (performance.timeOrigin + performance.now()) / 1000

const agent = new http.Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })

/** Whether the target answers `/health`; guidellm ends with 1 when it does not. */
export async function validate(target: string): Promise<void> {
  const { status } = await fetchText(route(new URL(`${target}/health`)), 10_000)
  if (status !== 200)
    throw new Error(
      `Backend validation request failed. Could not connect to the server or validate the backend configuration: ${status}`,
    )
}

/** The first model that the target lists, when the scenario names none. */
export async function firstModel(target: string): Promise<string> {
  const { body } = await fetchText(route(new URL(`${target}/v1/models`)), 10_000)
  return (JSON.parse(body) as { data: { id: string }[] }).data[0]!.id
}

/**
 * Sends requests at a constant rate whatever comes back, the first one 1 / rate after the start, for `maxSeconds`; what
 * is in flight then is cut off. At the in-flight limit a request waits for a free place and is sent late.
 */
export function runStep(scenario: Scenario & { model: string }, rateIndex: number): Promise<Step> {
  const rate = scenario.rates[rateIndex]!
  const source = prompts(scenario.seed, rateIndex, scenario.prompt, scenario.output)
  const exchanges: Exchange[] = []
  const inFlight = new Map<Exchange, () => void>()
  const queued = epoch()
  const startTime = epoch()
  const endTime = startTime + scenario.maxSeconds
  return new Promise(resolve => {
    let next = 1
    let timer: NodeJS.Timeout
    const send = (targetedStart: number) => {
      const exchange = newExchange(scenario, source.next().value, targetedStart, queued)
      exchanges.push(exchange)
      const cut = start(scenario, exchange, () => {
        inFlight.delete(exchange)
        pump()
      })
      inFlight.set(exchange, cut)
    }
    const pump = () => {
      clearTimeout(timer)
      // A request that is due at the very end is still sent, before the end is noticed.
      while (inFlight.size < scenario.maxConcurrency) {
        const due = startTime + next / rate
        if (due > endTime || due > epoch()) break
        next++
        send(due)
      }
      if (epoch() >= endTime) {
        for (const cut of [...inFlight.values()]) cut()
        inFlight.clear()
        return resolve({ rate, startTime, endTime, exchanges })
      }
      const wakeAt = inFlight.size < scenario.maxConcurrency ? Math.min(endTime, startTime + next / rate) : endTime
      timer = setTimeout(pump, Math.max(1, (wakeAt - epoch()) * 1000))
    }
    pump()
  })
}

function newExchange(
  scenario: Scenario & { model: string },
  prompt: Prompt,
  targetedStart: number,
  queued: number,
): Exchange {
  const content = scenario.chat
    ? { messages: [{ role: 'user', content: [{ type: 'text', text: prompt.text }] }] }
    : { prompt: prompt.text }
  const limit = scenario.chat ? { max_completion_tokens: prompt.outputTokens } : { max_tokens: prompt.outputTokens }
  return {
    id: randomUUID(),
    prompt,
    body: {
      model: scenario.model,
      stream: true,
      stream_options: { include_usage: true },
      ...limit,
      stop: null,
      ignore_eos: true,
      ...content,
    },
    targetedStart,
    queued,
    requestStart: epoch(),
    firstIteration: null,
    firstToken: null,
    lastToken: null,
    lastIteration: null,
    iterations: 0,
    tokenIterations: 0,
    requestEnd: null,
    resolveEnd: 0,
    status: 'incomplete',
    error: null,
    responseId: null,
    text: '',
    usage: undefined,
  }
}

/** Sends one request; returns a function that cuts it off. */
function start(scenario: Scenario, exchange: Exchange, ended: () => void): () => void {
  const url = new URL(`${scenario.target}/v1/${scenario.chat ? 'chat/' : ''}completions`)
  const text = JSON.stringify(exchange.body)
  const at = route(url)
  let over = false
  const settle = (status: Status, error: string | null) => {
    if (over) return
    over = true
    exchange.status = status
    exchange.error = error
    exchange.resolveEnd = epoch()
    if (status === 'successful') exchange.requestEnd = exchange.resolveEnd
    if (status !== 'successful') request.destroy()
    if (status !== 'incomplete') ended()
  }
  const headers = { ...at.headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  const request = http.request({ ...at, agent, method: 'POST', headers }, answer => {
    if (answer.statusCode !== 200) {
      const kind = answer.statusCode! >= 500 ? 'Server' : 'Client'
      const line = `${answer.statusCode} ${answer.statusMessage}`
      return settle(
        'errored',
        `${kind} error '${line}' for url '${url.href}'\nFor more information check: https://httpstatuses.com/${answer.statusCode}`,
      )
    }
    answer.setEncoding('utf8')
    let rest = ''
    answer.on('data', (part: string) => {
      const lines = (rest + part).split('\n')
      rest = lines.pop()!
      if (over) return
      const now = epoch()
      for (const line of lines) take(exchange, line, now)
    })
    answer.on('end', () => settle('successful', null))
    answer.on('error', () =>
      settle('errored', 'peer closed connection without sending complete message body (incomplete chunked read)'),
    )
  })
  request.setNoDelay(true)
  // The words of a read time-out are empty in 0.5.0.
  request.setTimeout(scenario.timeoutSeconds * 1000, () => settle('errored', ''))
  request.on('error', () => settle('errored', 'All connection attempts failed'))
  request.end(text)
  return () => settle('incomplete', 'Request was cancelled')
}

function take(exchange: Exchange, line: string, now: number): void {
  exchange.firstIteration ??= now
  exchange.lastIteration = now
  exchange.iterations++
  if (!line.startsWith('data:') || line === 'data: [DONE]') return
  const event = JSON.parse(line.slice('data:'.length)) as {
    id?: string
    choices?: { text?: string; delta?: { content?: string } }[]
    usage?: Exchange['usage'] | null
  }
  exchange.responseId ??= event.id ?? null
  if (event.usage) exchange.usage = event.usage
  const text = event.choices?.[0]?.text ?? event.choices?.[0]?.delta?.content
  if (!text) return
  exchange.text += text
  exchange.firstToken ??= now
  exchange.lastToken = now
  exchange.tokenIterations++
}
