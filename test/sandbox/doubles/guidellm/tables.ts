import type { ByStatus, Summary } from './distributions.ts'

interface Column {
  readonly head: readonly [group: string, name: string, unit: string]
  readonly cells: readonly string[]
}
type Metrics = Record<string, ByStatus<Summary>>
interface Benchmark {
  readonly start_time: number
  readonly end_time: number
  readonly duration: number
  readonly metrics: Metrics
}

/** A table whose equal neighbours in a header row share one cell, below the same group. */
export function table(title: string, columns: readonly Column[]): string {
  const widths = columns.map(column => Math.max(column.head[2].length, ...column.cells.map(cell => cell.length)) + 2)
  const spans = [0, 1, 2].map(row => {
    const starts: { at: number; length: number }[] = []
    for (const [i, { head }] of columns.entries()) {
      const before = columns[i - 1]?.head
      const joins =
        before !== undefined &&
        head[row] !== '' &&
        head[row] === before[row] &&
        (row === 0 || head[row - 1] === before[row - 1])
      if (joins) starts.at(-1)!.length++
      else starts.push({ at: i, length: 1 })
    }
    for (const { at, length } of starts) {
      const missing =
        (columns[at]!.head[row]!.length || -2) + 2 - widths.slice(at, at + length).reduce((a, b) => a + b, 0)
      for (let extra = 0; extra < missing; extra++) widths[at + (extra % length)]!++
    }
    return starts
  })
  const line = (cells: readonly string[]) => `|${cells.join('|')}|`
  const rule = (char: string) => line(widths.map(width => char.repeat(width)))
  const heads = spans.map((starts, row) =>
    line(
      starts.flatMap(({ at, length }) => {
        const width = widths.slice(at, at + length).reduce((a, b) => a + b, 0)
        const text = columns[at]!.head[row]
        return [(text ? ` ${text} ` : '').padEnd(width), ...new Array<string>(length - 1).fill('')]
      }),
    ),
  )
  const rows = columns[0]!.cells.map((_cell, row) =>
    line(columns.map((column, i) => ` ${column.cells[row]} `.padEnd(widths[i]!))),
  )
  return [`ℹ ${title}`, rule('='), ...heads, rule('-'), ...rows, rule('='), ''].join('\n')
}

const clock = (seconds: number) => new Date(seconds * 1000).toISOString().slice(11, 19)

/** The tables that guidellm prints after a run: summary, tokens, latency (successful requests), throughput. */
export function tables(benchmarks: readonly Benchmark[]): string {
  const column = (head: Column['head'], cell: (b: Benchmark) => string | number): Column => ({
    head,
    cells: benchmarks.map(b => {
      const value = cell(b)
      return typeof value === 'number' ? value.toFixed(1) : value
    }),
  })
  const strategy = column(['Benchmark', 'Strategy', ''], () => 'constant')
  const tail = (group: string, name: string, metric: string) => [
    column([group, name, 'Mdn'], b => b.metrics[metric]!.successful.median),
    column([group, name, 'p95'], b => b.metrics[metric]!.successful.percentiles.p95!),
  ]
  const middle = (group: string, name: string, metric: string) => [
    column([group, name, 'Mdn'], b => b.metrics[metric]!.successful.median),
    column([group, name, 'Mean'], b => b.metrics[metric]!.successful.mean),
  ]
  const sums = (group: string, metric: string) =>
    (
      [
        ['Comp', 'successful'],
        ['Inc', 'incomplete'],
        ['Err', 'errored'],
      ] as const
    ).map(([name, status]) => column([group, name, 'Tot'], b => b.metrics[metric]![status].total_sum))
  return [
    table('Run Summary Info', [
      strategy,
      column(['Timings', 'Start', ''], b => clock(b.start_time)),
      column(['Timings', 'End', ''], b => clock(b.end_time)),
      column(['Timings', 'Dur', 'Sec'], b => b.duration),
      column(['Timings', 'Warm', 'Sec'], () => 0),
      column(['Timings', 'Cool', 'Sec'], () => 0),
      ...sums('Input Tokens', 'prompt_token_count'),
      ...sums('Output Tokens', 'output_token_count'),
    ]),
    table('Request Token Statistics (Completed Requests)', [
      strategy,
      ...tail('Input Tok', 'Per Req', 'prompt_token_count'),
      ...tail('Output Tok', 'Per Req', 'output_token_count'),
      ...tail('Total Tok', 'Per Req', 'total_token_count'),
      ...tail('Stream Iter', 'Per Req', 'request_streaming_iterations_count'),
      ...tail('Output Tok', 'Per Stream Iter', 'output_tokens_per_iteration'),
    ]),
    table('Request Latency Statistics (Completed Requests)', [
      strategy,
      ...tail('Request Latency', 'Sec', 'request_latency'),
      ...tail('TTFT', 'ms', 'time_to_first_token_ms'),
      ...tail('ITL', 'ms', 'inter_token_latency_ms'),
      ...tail('TPOT', 'ms', 'time_per_output_token_ms'),
    ]),
    table('Server Throughput Statistics', [
      strategy,
      ...middle('Requests', 'Per Sec', 'requests_per_second'),
      ...middle('Requests', 'Concurrency', 'request_concurrency'),
      ...middle('Input Tokens', 'Per Sec', 'prompt_tokens_per_second'),
      ...middle('Output Tokens', 'Per Sec', 'output_tokens_per_second'),
      ...middle('Total Tokens', 'Per Sec', 'tokens_per_second'),
    ]),
  ].join('\n\n')
}
