import { type HttpMethod, IsomorphicFetchHttpLibrary, RequestContext } from '@kubernetes/client-node'
import type { Log } from '../log.ts'
import { ApiError, errorFromResponse, isTransient } from './api-error.ts'
import type { PooledKubeConfig } from './config.ts'
import { ServerClock } from './server-clock.ts'

export interface RequestOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: unknown
  readonly contentType?: string
  readonly signal?: AbortSignal
  /** POST is repeated only when the caller knows that it is idempotent (access reviews). */
  readonly idempotent?: boolean
  /** The caller asks again in its own time: nothing is retried. */
  readonly once?: boolean
  readonly accept?: string
}

/** One attempt plus four: with the delays below about 8 s, longer than a rolling API server restart takes to fail over. */
const attempts = 5
const firstDelayMs = 500
/** A request without an answer for this long is dead; watches and logs use `stream`, which has no such limit. */
const requestTimeoutMs = 60_000

/**
 * A thin client for the Kubernetes API: any path, any field, any query. The generated client drops unknown fields of
 * built-in kinds, has no `fieldValidation`, and never retries.
 */
export class Api {
  readonly #http = new IsomorphicFetchHttpLibrary()
  readonly config: PooledKubeConfig
  readonly #log: Log
  readonly #delayMs: number
  readonly #clock: ServerClock

  constructor(config: PooledKubeConfig, log: Log, options: { firstDelayMs?: number; clock?: () => number } = {}) {
    this.config = config
    this.#log = log
    this.#delayMs = options.firstDelayMs ?? firstDelayMs
    this.#clock = new ServerClock(options.clock)
  }

  /** ms since the epoch by the clock of the API server, learnt from the `Date` of its answers. */
  serverNow(): number {
    return this.#clock.now()
  }

  get server(): string {
    return this.config.getCurrentCluster()?.server ?? ''
  }

  /** Sends one request and parses the JSON answer. Idempotent requests are retried on transient errors. */
  async request<T>(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    options: RequestOptions = {},
  ): Promise<T> {
    const repeatable = options.once !== true && (options.idempotent ?? method !== 'POST')
    for (let attempt = 1; ; attempt++) {
      options.signal?.throwIfAborted()
      try {
        const timeout = AbortSignal.timeout(requestTimeoutMs)
        const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
        const response = await this.#send(method, path, options, signal)
        const text = await readBody(response, method, path)
        return (text === '' ? undefined : JSON.parse(text)) as T
      } catch (error) {
        options.signal?.throwIfAborted()
        if (!repeatable || attempt >= attempts || !isTransient(error)) throw error
        const asked = (error as ApiError).retryAfterSeconds
        const delay = asked === undefined ? this.#delayMs * 2 ** (attempt - 1) : Math.min(asked, 30) * 1000
        this.#log.info(
          `${(error as ApiError).message}; attempt ${attempt + 1} of ${attempts} in ${Math.round(delay)} ms`,
        )
        await pause(delay, options.signal)
      }
    }
  }

  /** Opens a long answer (watch, log) as a stream of chunks. No retry, no time-out: the caller reconnects. */
  async stream(path: string, options: RequestOptions & { signal: AbortSignal }): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.#send('GET', path, options, options.signal)
    if (response.httpStatusCode >= 300) await readBody(response, 'GET', path)
    return guarded((response.body as unknown as { stream(): AsyncIterable<Uint8Array> }).stream(), path)
  }

  async #send(method: string, path: string, options: RequestOptions, signal: AbortSignal) {
    const url = new URL(this.server.replace(/\/+$/, '') + path)
    for (const [key, value] of Object.entries(options.query ?? {})) {
      if (value !== undefined) url.searchParams.set(key, String(value))
    }
    const context = new RequestContext(url.toString(), method as HttpMethod)
    context.setHeaderParam('Accept', options.accept ?? 'application/json')
    context.setHeaderParam('User-Agent', 'llm-d-bench-action')
    if (options.body !== undefined) {
      context.setHeaderParam('Content-Type', options.contentType ?? 'application/json')
      context.setBody(typeof options.body === 'string' ? options.body : JSON.stringify(options.body))
    }
    context.setSignal(signal)
    await this.config.applySecurityAuthentication(context)
    const sentAt = this.#clock.own()
    try {
      const response = await this.#http.send(context).toPromise()
      // A 5xx may come from a load balancer, which has a clock of its own.
      if (response.httpStatusCode < 500) this.#clock.learn(response.headers.date, sentAt)
      return response
    } catch (cause) {
      throw networkError(method, path, cause)
    }
  }

  /** Ends idle connections; without it a proxy's sockets could keep the process alive. */
  close(): Promise<void> {
    return this.config.close()
  }
}

async function readBody(
  response: { httpStatusCode: number; headers: Record<string, string>; body: { text(): Promise<string> } },
  method: string,
  path: string,
): Promise<string> {
  let text: string
  try {
    text = await response.body.text()
  } catch (cause) {
    throw networkError(method, path, cause)
  }
  if (response.httpStatusCode >= 300)
    throw errorFromResponse(method, path, response.httpStatusCode, text, response.headers)
  return text
}

async function* guarded(chunks: AsyncIterable<Uint8Array>, path: string): AsyncIterable<Uint8Array> {
  try {
    yield* chunks
  } catch (cause) {
    throw networkError('GET', path, cause)
  }
}

/** fetch hides the real error in a chain of causes: `TypeError: fetch failed` -> Error with `code`. */
function networkError(method: string, path: string, thrown: unknown): unknown {
  if ((thrown as { name?: unknown } | undefined)?.name === 'AbortError') return thrown
  let code: string | undefined
  let message = String((thrown as { message?: unknown } | undefined)?.message ?? thrown)
  let link = thrown as { code?: unknown; message?: unknown; cause?: unknown; errors?: unknown[] } | undefined
  for (let depth = 0; link !== undefined && link !== null && depth < 8; depth++) {
    if (typeof link.code === 'string') code = link.code
    if (typeof link.message === 'string' && link.message !== '') message = link.message
    // Both address families of a host were tried: the first refusal speaks for all.
    link = (link.cause ?? link.errors?.[0]) as typeof link
  }
  if ((thrown as { name?: unknown } | undefined)?.name === 'TimeoutError') code = 'ETIMEDOUT'
  return new ApiError(`${method} ${path.split('?')[0]}: ${message.slice(0, 300)}`, {
    status: 0,
    cause: thrown,
    ...(code === undefined ? {} : { code }),
  })
}

/** Resolves after `ms`, or rejects at once when the signal aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal?.addEventListener('abort', stop, { once: true })
  })
}
