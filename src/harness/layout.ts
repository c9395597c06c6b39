import { UserError } from '../errors.ts'
import type { GuidellmBenchmark } from '../results/guidellm-record.ts'
import { parsePythonLiteral } from './python-literal.ts'
import type { ReducedReport } from './report-reader.ts'

/** The lines of guidellm whose reports differ outside `benchmarks[]`. */
export type LayoutLine = '0.4.0' | '0.5' | '0.6' | '0.7'

/** What is read from the part of a report that differs between the lines. */
export interface Layout {
  readonly line: LayoutLine
  /** As the report says it; absent before 0.5, unreliable for source builds. */
  readonly guidellmVersion: string | undefined
  readonly model: string
  readonly target: string
  /** Requests per second, in run order; empty when the report does not say. */
  readonly rates: readonly number[]
  /** The `max_seconds` of every rate; absent when the report does not say. */
  readonly maxSeconds: number | undefined
  readonly benchmarks: readonly GuidellmBenchmark[]
}

type Map = Readonly<Record<string, unknown>>
const mapOf = (value: unknown): Map =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Map) : {}
const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
const positive = (value: unknown): number | undefined =>
  typeof value === 'number' && value > 0 && Number.isFinite(value) ? value : undefined

/**
 * Tells the line of a report by what it contains; the version it states is wrong for source builds. From 0.4 on the tree
 * below `benchmarks[]` is the same. 0.8 keeps the layout of 0.7.
 * @throws UserError RESULTS for 0.3 and older, for development versions before 0.4, and for anything unknown
 */
export function detectLayout(report: ReducedReport): Layout {
  const metadata = mapOf(report.metadata)
  const args = mapOf(report.args)
  const spec = mapOf(mapOf(report.config).spec)
  const backendKwargs = mapOf(args.backend_kwargs)
  const benchmarks = benchmarksOf(report)
  const first = mapOf(benchmarks[0])
  if ('run_stats' in first) throw unknownLayout('a report of guidellm 0.3 or older (`benchmarks[0].run_stats`)')
  if ('output_formats' in args)
    throw unknownLayout('a report of a guidellm development version before 0.4 (`args.output_formats`)')
  const common = { guidellmVersion: textOf(metadata.guidellm_version)?.slice(0, 300), benchmarks }
  if (Object.keys(spec).length > 0) {
    const backend = mapOf(spec.backend)
    return {
      ...common,
      line: '0.7',
      ...names(backend.model, backend.target, first),
      rates: ratesOf(mapOf(spec.profile).rate),
      maxSeconds: maxDuration(spec.constraints),
    }
  }
  const rest = { rates: ratesOf(args.rate), maxSeconds: positive(args.max_seconds) }
  if (metadata.version === 1 && textOf(backendKwargs.target) !== undefined) {
    return { ...common, line: '0.6', ...names(backendKwargs.model, backendKwargs.target, first), ...rest }
  }
  if (metadata.version === 1 && textOf(args.target) !== undefined) {
    return { ...common, line: '0.5', ...names(args.model, args.target, first), ...rest }
  }
  if (report.metadata === undefined && textOf(args.target) !== undefined) {
    return { ...common, line: '0.4.0', ...names(args.model, args.target, first), ...rest }
  }
  throw unknownLayout(
    `the top-level keys ${Object.keys(report).slice(0, 10).join(', ') || '(none)'}, metadata.version ${JSON.stringify(metadata.version ?? null)}`,
  )
}

function benchmarksOf(report: ReducedReport): readonly GuidellmBenchmark[] {
  const list = report.benchmarks
  if (!Array.isArray(list))
    throw unknownLayout(
      `no list \`benchmarks\`, but the keys ${Object.keys(report).slice(0, 10).join(', ') || '(none)'}`,
    )
  if (list.length === 0) throw unknownLayout('an empty list `benchmarks`')
  return list as GuidellmBenchmark[]
}

/** The backend's own record names the model that was found when none was asked for. */
function names(model: unknown, target: unknown, benchmark: Map): { model: string; target: string } {
  const backend = mapOf(mapOf(benchmark.config).backend)
  return { model: textOf(model) ?? textOf(backend.model) ?? '', target: textOf(target) ?? textOf(backend.target) ?? '' }
}

/** A number, a list of numbers, or either as text (`"[1, 2]"`, `"1,2"`). */
function ratesOf(value: unknown): number[] {
  const list = typeof value === 'string' ? (parsePythonLiteral(value) ?? value.split(',').map(Number)) : value
  return (Array.isArray(list) ? list : [list]).map(positive).filter(rate => rate !== undefined)
}

const maxDuration = (constraints: unknown): number | undefined =>
  (Array.isArray(constraints) ? constraints : [])
    .map(mapOf)
    .map(c => (c.kind === 'max_duration' ? positive(c.seconds) : undefined))
    .find(s => s !== undefined)

export const unknownLayout = (found: string): UserError =>
  new UserError('RESULTS', 'The guidellm report has a layout that cannot be read.', {
    why: `It holds ${found}.`,
    next: 'Use a harness image with guidellm 0.4.0, 0.5.x, 0.6.x or 0.7.x (input harness-image).',
  })
