import { evaluate, select } from './evaluate.ts'
import { type Labels, numberText } from './exposition.ts'
import { parseQuery, QueryError } from './promql.ts'
import { range, type SampleStore } from './samples.ts'

export interface ApiAnswer {
  readonly status: number
  readonly body:
    | { readonly status: 'success'; readonly data: unknown }
    | { readonly status: 'error'; readonly errorType: string; readonly error: string }
}

/** The answer to `/api/v1/query` or `/api/v1/series`, in the form of Prometheus' HTTP API; undefined for any other path. */
export function answerQuery(
  path: string,
  parameters: URLSearchParams,
  store: SampleStore,
  now: number,
): ApiAnswer | undefined {
  if (path !== '/api/v1/query' && path !== '/api/v1/series') return undefined
  try {
    const data = path === '/api/v1/query' ? instantVector(parameters, store, now) : series(parameters, store, now)
    return { status: 200, body: { status: 'success', data } }
  } catch (error) {
    if (!(error instanceof QueryError)) throw error
    return { status: 400, body: { status: 'error', errorType: 'bad_data', error: error.message } }
  }
}

function moment(text: string | null, otherwise: number): number {
  if (text === null) return otherwise
  const at = /^[\d.]+$/.test(text) ? Number(text) * 1000 : Date.parse(text)
  if (Number.isNaN(at)) throw new QueryError(`cannot parse "${text}" to a valid timestamp`)
  return at
}

function instantVector(parameters: URLSearchParams, store: SampleStore, now: number): unknown {
  const at = moment(parameters.get('time'), now)
  const points = evaluate(parseQuery(parameters.get('query') ?? ''), store, at)
  const result = points.map(({ labels, value }) => ({ metric: labels, value: [at / 1000, numberText(value)] }))
  return { resultType: 'vector', result }
}

/** Series with a sample between `start` and `end`, also those that are stale by now. */
function series(parameters: URLSearchParams, store: SampleStore, now: number): Labels[] {
  const selectors = parameters.getAll('match[]')
  if (selectors.length === 0) throw new QueryError('no match[] parameter provided')
  const [start, end] = [moment(parameters.get('start'), 0), moment(parameters.get('end'), now)]
  return selectors.flatMap(text => {
    const selector = parseQuery(text)
    if (selector.type !== 'selector') throw new QueryError(`not a selector: ${text}`)
    return select(selector, store)
      .filter(one => range(one, end, end - start).length > 0)
      .map(one => one.labels)
  })
}
