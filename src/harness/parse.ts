import type { GuidellmBenchmark, GuidellmRecord } from '../results/guidellm-record.ts'
import { quantile } from '../results/quantile.ts'
import type { RequestTotals, RowStatus, Rows, Step } from '../results/schema.ts'
import { detectLayout, type LayoutLine, unknownLayout } from './layout.ts'
import type { ReducedReport } from './report-reader.ts'
import { readRequestArgs } from './request-args.ts'

/** A guidellm report as the results room wants it. */
export interface ParsedReport {
  readonly line: LayoutLine
  readonly guidellmVersion: string | undefined
  readonly model: string
  readonly target: string
  /** One per benchmark that ran, in run order; a rate whose benchmark is missing has no step. */
  readonly steps: Step[]
}

/** A scheduled start counts as inside the step up to this share of the interval between requests after its end. */
const edge = 0.01

/**
 * Turns a reduced report into steps. A step begins at its first scheduled start minus 1 / rate and lasts `max_seconds`,
 * in every version; requests scheduled later are dropped, so that a step holds rate x seconds requests whether guidellm
 * counts its window from the first request or from the one before it.
 * @throws UserError RESULTS when the layout is unknown or a benchmark is not of constant rate
 */
export function parseReport(report: ReducedReport): ParsedReport {
  const layout = detectLayout(report)
  let next = 0
  const steps = layout.benchmarks.map((benchmark, i) => {
    const rate = benchmark?.config?.strategy?.rate
    if (typeof rate !== 'number' || !(rate > 0) || !Number.isFinite(rate)) {
      throw unknownLayout(
        `benchmark ${i} of strategy ${JSON.stringify(benchmark?.config?.strategy?.type_ ?? null)} without \`config.strategy.rate\``,
      )
    }
    // Matched by rate, in order: a constraint can end a profile early, and a profile may go up and down again.
    const found = layout.rates.indexOf(rate, next)
    const index = found < 0 ? i : found
    next = index + 1
    return toStep(benchmark, index, rate, layout.maxSeconds)
  })
  return {
    line: layout.line,
    guidellmVersion: layout.guidellmVersion,
    model: layout.model,
    target: layout.target,
    steps,
  }
}

interface Placed {
  readonly record: GuidellmRecord
  readonly status: RowStatus
  readonly scheduled: number
}
const lists: readonly (readonly ['successful' | 'errored' | 'incomplete', RowStatus])[] = [
  ['successful', 'c'],
  ['errored', 'e'],
  ['incomplete', 'i'],
]

function toStep(benchmark: GuidellmBenchmark, index: number, rate: number, maxSeconds: number | undefined): Step {
  const requests = benchmark.requests
  if (typeof requests !== 'object' || requests === null) throw unknownLayout(`benchmark ${index} without \`requests\``)
  const totals = totalsOf(benchmark, index)
  const placed: Placed[] = []
  let never = 0
  for (const [list, status] of lists) {
    for (const record of requests[list] ?? []) {
      const times = record.info?.timings
      const scheduled = moment(times?.targeted_start) ?? moment(times?.request_start)
      if (scheduled === undefined) never += 1
      else placed.push({ record, status, scheduled })
    }
  }
  placed.sort((a, b) => a.scheduled - b.scheduled)
  const first = placed[0]?.scheduled
  const begin = first === undefined ? (moment(benchmark.start_time) ?? 0) : first - 1 / rate
  const seconds = secondsOf(benchmark) ?? maxSeconds ?? benchmark.duration
  if (seconds === undefined || !(seconds > 0)) throw unknownLayout(`benchmark ${index} without a duration`)
  const kept = placed.filter(p => p.scheduled - begin <= seconds + edge / rate)
  const rows = toRows(kept, begin)
  const limit = benchmark.config?.strategy?.max_concurrency
  const lag = quantile(
    rows.scheduled.flatMap((scheduled, i) => (typeof rows.sent[i] === 'number' ? [rows.sent[i] - scheduled] : [])),
    0.99,
  )
  return {
    index,
    rate,
    begin: round(begin, 6),
    seconds,
    maxConcurrency: typeof limit === 'number' && limit >= 1 ? Math.trunc(limit) : null,
    totals,
    sampled: lists.some(([list]) => (requests[list]?.length ?? 0) < totals[list]),
    dropped: placed.length - kept.length + never,
    sendLagP99Ms: lag === null ? null : round(lag * 1000, 3),
    rows,
  }
}

function toRows(placed: readonly Placed[], begin: number): Rows {
  const rows: Rows = {
    scheduled: [],
    sent: [],
    firstToken: [],
    lastToken: [],
    end: [],
    status: [],
    requestedTokens: [],
    promptTokens: [],
    outputTokens: [],
    itlMs: [],
    promptHash: [],
  }
  const since = (time: number | undefined): number | null => (time === undefined ? null : round(time - begin, 6))
  for (const { record, status, scheduled } of placed) {
    const times = record.info?.timings
    const firstToken = moment(times?.first_token_iteration)
    const lastToken = moment(times?.last_token_iteration)
    // The usage message comes last: of a request that was cut off only the tokens seen so far are known.
    const produced = count(record.output_tokens) ?? (status === 'i' ? count(times?.token_iterations) : null)
    rows.scheduled.push(round(scheduled - begin, 6))
    rows.sent.push(since(moment(times?.request_start)))
    rows.firstToken.push(since(firstToken))
    rows.lastToken.push(since(lastToken))
    rows.end.push(
      since(
        status === 'c'
          ? moment(times?.request_end)
          : status === 'e'
            ? (moment(times?.request_end) ?? moment(times?.resolve_end))
            : undefined,
      ),
    )
    rows.status.push(status)
    rows.requestedTokens.push(readRequestArgs(record.request_args).maxTokens)
    rows.promptTokens.push(count(record.prompt_tokens))
    rows.outputTokens.push(produced)
    rows.itlMs.push(interTokenMs(record, firstToken, lastToken, produced))
    rows.promptHash.push(/^[0-9a-f]{16}$/.test(record.prompt_hash ?? '') ? record.prompt_hash! : null)
  }
  return rows
}

/** guidellm's own figure (`time_per_output_token_ms` contains TTFT and is not used); for requests cut off, from their times. */
function interTokenMs(
  record: GuidellmRecord,
  first: number | undefined,
  last: number | undefined,
  tokens: number | null,
): number | null {
  if (tokens === null || tokens <= 1) return null
  const own = record.inter_token_latency_ms
  if (typeof own === 'number' && own >= 0) return round(own, 4)
  return first === undefined || last === undefined || last < first
    ? null
    : round(((last - first) * 1000) / (tokens - 1), 4)
}

function totalsOf(benchmark: GuidellmBenchmark, index: number): RequestTotals {
  const totals = benchmark.metrics?.request_totals
  if (typeof totals !== 'object' || totals === null)
    throw unknownLayout(`benchmark ${index} without \`metrics.request_totals\``)
  const of = (name: string): number => count(totals[name]) ?? 0
  return { successful: of('successful'), incomplete: of('incomplete'), errored: of('errored'), total: of('total') }
}

/** `config.constraints.max_seconds.max_duration` up to 0.6, `config.constraints.max_duration.args.seconds` from 0.7 on. */
function secondsOf(benchmark: GuidellmBenchmark): number | undefined {
  const constraints = benchmark.config?.constraints as
    | { max_seconds?: { max_duration?: unknown } | number; max_duration?: { args?: { seconds?: unknown } } }
    | undefined
  const old = constraints?.max_seconds
  const value = constraints?.max_duration?.args?.seconds ?? (typeof old === 'object' ? old?.max_duration : old)
  return typeof value === 'number' && value > 0 && Number.isFinite(value) ? value : undefined
}

/** Epoch seconds; guidellm writes -1 or 0 for never. */
const moment = (time: number | null | undefined): number | undefined =>
  typeof time === 'number' && time > 0 && Number.isFinite(time) ? time : undefined
const count = (value: number | null | undefined): number | null =>
  typeof value === 'number' && value >= 0 && Number.isFinite(value) ? Math.trunc(value) : null
const round = (value: number, digits: number): number => Number(value.toFixed(digits))
