import {
  equal,
  indexAt,
  type ReplicaChange,
  type ReplicaRecord,
  type ReplicaState,
  replicaChanges,
  type StepWindow,
  stepWindows,
} from './replica-states.ts'
import { type StartMaxEnd, stepReplicas } from './step-replicas.ts'

const columns: readonly (readonly [
  heading: string,
  csv: string,
  read: (state: ReplicaState) => number | null | undefined,
])[] = [
  ['WVA', 'wva_desired', s => s.wva],
  ['metric', 'external_metric', s => s.metric],
  ['HPA', 'hpa_desired', s => s.hpaDesired],
  ['HPA now', 'hpa_current', s => s.hpaCurrent],
  ['Deployment', 'deployment_desired', s => s.deployment],
  ['scheduled', 'pods_scheduled', s => s.scheduled],
  ['ready', 'pods_ready', s => s.ready],
  ['waiting', 'requests_waiting', s => s.waiting],
]

const legend = `WVA: replicas decided. metric: what the external metrics API serves (none: nothing). HPA: replicas it wants; HPA now: replicas
it counts. Deployment: replicas asked for. scheduled: pods on a node. ready: pods ready. waiting: requests queued in the
model servers. "-": not seen yet, or gone. A line per change; a queue counts as one when it builds up or is empty again.`

/**
 * One repeat's replicas over time, for a person: first a line per step, then a line per change of any count. Seconds
 * count from the begin of the first step on the harness clock. Plain text in columns, ends with a line end; numbers
 * alone come from the record.
 */
export function replicaTable(repeat: ReplicaRecord): string {
  const changes = replicaChanges(repeat)
  const steps = stepWindows(repeat)
  const since = steps.length > 0 ? 'the load began' : 'the repeat started; it has no load on record'
  const lines = [`Replicas over time, repeat ${repeat.index}. Seconds since ${since}.`]
  if (steps.length > 0) lines.push('', 'Per step: at start / highest / at end', ...perStep(repeat, changes))
  lines.push('', legend, '')
  if (changes.length === 0) return `${[...lines, 'No change was recorded.'].join('\n')}\n`
  const rows = timeline(changes, steps).map(({ seconds, state }) => [
    seconds.toFixed(1),
    ...place(steps, seconds),
    ...columns.map(([, , read]) => shown(read(state))),
  ])
  lines.push(...aligned([['seconds', 'step', 'req/s', ...columns.map(([heading]) => heading)], ...rows]))
  return `${lines.join('\n')}\n`
}

/**
 * The same as CSV for programs: every change, of the queue too. An empty field is not known, `NaN` an external metric
 * that was not served; `step` counts from 1 and is empty outside of the steps.
 */
export function replicaCsv(repeat: ReplicaRecord): string {
  const steps = stepWindows(repeat)
  const rows = replicaChanges(repeat).map(({ seconds, state }) => {
    const step = steps.find(s => seconds >= s.begin && seconds < s.end)
    const cells = columns.map(([, , read]) => {
      const value = read(state)
      return value === null ? 'NaN' : value === undefined ? '' : String(value)
    })
    return [seconds.toFixed(3), step === undefined ? '' : step.index + 1, step?.rate ?? '', ...cells].join(',')
  })
  return `${[['seconds', 'step', 'rate', ...columns.map(([, name]) => name)].join(','), ...rows].join('\n')}\n`
}

function perStep(repeat: ReplicaRecord, changes: readonly ReplicaChange[]): string[] {
  const text = (value: StartMaxEnd | null): string =>
    value === null ? '-' : `${value.start} / ${value.max} / ${value.end}`
  return aligned([
    ['step', 'req/s', 'from', 'to', 'WVA desired', 'ready'],
    ...stepReplicas(repeat, changes).map(step => [
      String(step.index + 1),
      String(step.rate),
      `${step.begin.toFixed(0)} s`,
      `${step.end.toFixed(0)} s`,
      text(step.desired),
      text(step.ready),
    ]),
  ])
}

/**
 * What is worth a line: begins of steps, and changes of a count. Of the length of the queue, which changes with every
 * scrape, only that there is one or none.
 */
function timeline(changes: readonly ReplicaChange[], steps: readonly StepWindow[]): ReplicaChange[] {
  const begins = steps.map(({ begin }) => ({
    seconds: begin,
    state: changes[indexAt(changes, begin)]?.state ?? {},
  }))
  const lines: ReplicaChange[] = []
  for (const [i, change] of changes.entries()) {
    const before = changes[i - 1]?.state ?? {}
    if (!equal(change.state, before, 'waiting') || isQueue(change.state) !== isQueue(before)) lines.push(change)
  }
  const told = new Set(lines.map(line => line.seconds))
  return [...begins.filter(begin => !told.has(begin.seconds)), ...lines].sort((a, b) => a.seconds - b.seconds)
}

const isQueue = ({ waiting }: ReplicaState): boolean => (waiting ?? 0) > 0

function place(steps: readonly StepWindow[], seconds: number): [string, string] {
  const [first] = steps
  if (first === undefined) return ['-', '-']
  const step = steps.find(s => seconds >= s.begin && seconds < s.end)
  if (step !== undefined) return [String(step.index + 1), String(step.rate)]
  return [seconds < first.begin ? 'before' : steps.some(s => s.begin > seconds) ? 'between' : 'after', '-']
}

const shown = (value: number | null | undefined): string =>
  value === undefined ? '-' : value === null ? 'none' : String(Number(value.toFixed(2)))

/** Right-aligned columns, two spaces apart. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_cell, i) => rows.reduce((width, row) => Math.max(width, row[i]!.length), 0))
  return rows.map(row => row.map((cell, i) => cell.padStart(widths[i]!)).join('  '))
}
