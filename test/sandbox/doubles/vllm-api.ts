/** A completion that vLLM takes on. */
export interface Accepted {
  readonly chat: boolean
  readonly promptTokens: number
  readonly maxTokens: number
  readonly stream: boolean
  readonly includeUsage: boolean
  /** Usage in every event of the stream. */
  readonly continuousUsage: boolean
}
/** Why it does not, as the API says it. */
export interface Refusal {
  readonly code: 400 | 404
  readonly type: 'BadRequestError' | 'NotFoundError'
  readonly message: string
}
interface Body {
  model?: string
  prompt?: unknown
  messages?: { content?: unknown }[]
  max_tokens?: number
  max_completion_tokens?: number
  stream?: boolean
  stream_options?: { include_usage?: boolean; continuous_usage_stats?: boolean }
}

/** Stand-in for a tokenizer: one token per word. */
export const countTokens = (text: string): number => text.match(/\S+/g)?.length ?? 0

const refusal = (message: string): Refusal => ({ code: 400, type: 'BadRequestError', message })
/** Of a completion that names none. */
const defaultMaxTokens = 16

/** Reads the body of a completion or chat completion. */
export function readCompletion(
  text: string,
  chat: boolean,
  serving: { model: string; maxModelLen: number; kvTokens: number },
): Accepted | Refusal {
  let body: Body
  try {
    body = JSON.parse(text) as Body
  } catch (error) {
    return refusal(`JSON decode error: ${(error as Error).message}`)
  }
  if (body.model !== undefined && body.model !== serving.model) {
    return { code: 404, type: 'NotFoundError', message: `The model \`${body.model}\` does not exist.` }
  }
  const contents = (body.messages ?? []).map(({ content }) =>
    typeof content === 'string' ? content : JSON.stringify(content),
  )
  const promptTokens = countTokens(chat ? contents.join(' ') : String(body.prompt ?? ''))
  if (promptTokens === 0) return refusal('The prompt is empty.')
  const otherwise = chat ? serving.maxModelLen - promptTokens : defaultMaxTokens
  const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? otherwise
  if (!(maxTokens >= 1)) return refusal(`max_tokens must be at least 1, got ${maxTokens}.`)
  if (promptTokens + maxTokens > Math.min(serving.maxModelLen, serving.kvTokens)) {
    const asked = `${promptTokens + maxTokens} tokens (${promptTokens} in the messages, ${maxTokens} in the completion)`
    return refusal(
      `This model's maximum context length is ${serving.maxModelLen} tokens. However, you requested ${asked}.`,
    )
  }
  return {
    chat,
    promptTokens,
    maxTokens,
    stream: body.stream === true,
    includeUsage: body.stream_options?.include_usage === true,
    continuousUsage: body.stream_options?.continuous_usage_stats === true,
  }
}

/** Writes the answer to one completion: JSON texts, since thousands of events per second leave no time for objects. */
export class CompletionWriter {
  readonly #request: Accepted
  readonly #head: string
  readonly #whole: Record<string, unknown>

  constructor(request: Accepted, id: string, model: string, created: number) {
    this.#request = request
    const object = request.chat ? 'chat.completion.chunk' : 'text_completion'
    this.#head = `data: {"id":"${id}","object":"${object}","created":${created},"model":${JSON.stringify(model)},"choices":`
    this.#whole = { id, object: request.chat ? 'chat.completion' : 'text_completion', created, model }
  }

  #usage(produced: number) {
    const { promptTokens } = this.#request
    return { prompt_tokens: promptTokens, total_tokens: promptTokens + produced, completion_tokens: produced }
  }

  /** What a chat stream begins with. */
  get opening(): string {
    return this.#request.chat
      ? `${this.#head}[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n`
      : ''
  }
  /** The event of one token; `produced` counts it. */
  token(text: string, produced: number, last: boolean): string {
    const finish = last ? '"length"' : 'null'
    const choice = this.#request.chat
      ? `{"index":0,"delta":{"content":"${text}"},"logprobs":null,"finish_reason":${finish}}`
      : `{"index":0,"text":"${text}","logprobs":null,"finish_reason":${finish},"stop_reason":null}`
    const usage = this.#request.continuousUsage ? `,"usage":${JSON.stringify(this.#usage(produced))}` : ''
    return `${this.#head}[${choice}]${usage}}\n\n`
  }
  closing(produced: number): string {
    const usage = this.#request.includeUsage
      ? `${this.#head}[],"usage":${JSON.stringify(this.#usage(produced))}}\n\n`
      : ''
    return `${usage}data: [DONE]\n\n`
  }
  /** The answer when no stream was asked for. */
  whole(text: string, produced: number): Record<string, unknown> {
    const choice = this.#request.chat ? { message: { role: 'assistant', content: text } } : { text }
    return {
      ...this.#whole,
      choices: [{ index: 0, ...choice, logprobs: null, finish_reason: 'length' }],
      usage: this.#usage(produced),
    }
  }
}
