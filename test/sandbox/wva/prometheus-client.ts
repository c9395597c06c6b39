import type { Point } from './evaluate.ts'
import { type Labels, numberOf } from './exposition.ts'
import { getPage } from './web.ts'

interface Reply {
  status: string
  error?: string
  data?: unknown
}

/** Asks a Prometheus over its HTTP API. */
export class PrometheusClient {
  readonly #base: string

  constructor(baseUrl: string) {
    this.#base = baseUrl.replace(/\/$/, '')
  }

  /** The instant vector of a query, now. @throws when Prometheus is away or refuses the query */
  async vector(query: string): Promise<Point[]> {
    const { result } = (await this.#get('query', { query })) as {
      result: { metric: Labels; value: [number, string] }[]
    }
    return result.map(({ metric, value }) => ({ labels: metric, value: numberOf(value[1]) }))
  }

  /** The label sets of the series that a selector takes and that had a sample since `startMs` (epoch milliseconds). */
  async series(selector: string, startMs: number): Promise<Labels[]> {
    return (await this.#get('series', { 'match[]': selector, start: String(startMs / 1000) })) as Labels[]
  }

  async #get(what: string, parameters: Record<string, string>): Promise<unknown> {
    const url = new URL(`${this.#base}/api/v1/${what}?${new URLSearchParams(parameters)}`)
    const { status, body } = await getPage(url, { timeoutMs: 10_000 })
    let reply: Reply | undefined
    try {
      reply = JSON.parse(body) as Reply
    } catch {
      // A proxy's page instead of an answer: its text is the error.
    }
    if (reply?.status !== 'success') throw new Error(`${status}: ${(reply?.error ?? body).trim().slice(0, 200)}`)
    return reply.data
  }
}
