import type { Repeat } from '../results/schema.ts'
import { replicaChanges, stepWindows } from '../timeline/replica-states.ts'
import { overTime, type StartMaxEnd, type StepReplicas, stepReplicas } from '../timeline/step-replicas.ts'
import { md, mdCode } from './escape.ts'
import { count, duration, figure, plural, table, written } from './format.ts'
import { type LegView, recorded } from './legs.ts'
import { listed } from './limits.ts'
import { sparkline } from './sparkline.ts'
import { stepLabel } from './step-label.ts'

/** Fits a phone together with its label. */
const cells = 28
/** Rows of the table per step. */
const shownSteps = 64

/** What to know of a leg under the autoscaler before reading its figures: one list. Empty when nothing is known. */
export function autoscalerLines(view: LegView): string {
  const maxReplicas = recorded(view, 'maxReplicas')
  const wvaVersion = recorded(view, 'wvaVersion')
  const who = [
    ...(maxReplicas === undefined ? [] : [`at most ${plural(maxReplicas, 'replica')}`]),
    ...(wvaVersion === undefined ? [] : [`controller ${mdCode(wvaVersion, 60)}`]),
  ].join(', ')
  const lines = [who, reactionText(view), ...settledLines(view.stages.run?.repeats ?? [])].filter(line => line !== '')
  return lines.map(line => `- ${line}`).join('\n')
}

/** Whether a step is long enough for the autoscaler to answer within it. */
function reactionText(view: LegView): string {
  const reaction = view.stages.run?.reaction ?? view.stages.standup?.reaction
  if (reaction === undefined) return ''
  const { seconds, stepSeconds, windowThatFits } = reaction
  const { window, reconcile, start } = reaction.parts
  const parts = `${written(window)} s HPA window + ${written(reconcile)} s reconcile + ${written(start)} s start`
  const first = `Expected: WVA needs about ${duration(Math.round(seconds))} from saturation to a serving replica (${parts})`
  if (seconds <= stepSeconds) return `${first}, which fits into a step of ${written(stepSeconds)} s.`
  const advice =
    windowThatFits === undefined
      ? 'no scale-up window would change that, longer steps would'
      : `\`hpa-behavior\` with a scale-up window of ${written(windowThatFits)} s would fit`
  return `⚠️ ${first}, longer than a step of ${written(stepSeconds)} s: a replica that one rate asks for serves later ones; ${advice}.`
}

function settledLines(repeats: readonly Repeat[]): string[] {
  const settled = repeats.filter(repeat => repeat.settled !== undefined)
  const carried = repeats.filter(repeat => repeat.carriedOver || repeat.settled?.carriedOver !== undefined)
  const start = settled.slice(0, listed).map(repeat => `repeat ${repeat.index} ${settledText(repeat.settled!)}`)
  const rest = settled.length - start.length
  return [
    ...(start.length === 0
      ? []
      : [`Start of the repeats: ${start.join('; ')}${rest > 0 ? `; and ${count(rest)} more` : ''}.`]),
    ...carried.slice(0, 3).map(repeat => {
      const why = repeat.settled?.carriedOver
      return `⚠️ Repeat ${repeat.index} is **carried over**: it did not start from 1 replica at rest${why === undefined ? '.' : `: ${md(why, 200)}`}`
    }),
    ...(carried.length > 3 ? [`⚠️ ${plural(carried.length - 3, 'more repeat')} carried over.`] : []),
  ]
}

function settledText({ how, seconds, tries }: NonNullable<Repeat['settled']>): string {
  const time = duration(Math.round(seconds))
  switch (how) {
    case 'proven':
      return `stood there already (checked in ${time})`
    case 'reset':
      return `was reset in ${time} (${tries === 1 ? '1 try' : `${count(tries)} tries`})`
    case 'waited':
      return `waited ${time}`
    case 'none':
      return 'started as it was'
  }
}

/** What was decided and what was ready over the load: a table per step, and one repeat as a line of blocks. */
export function autoscalingOverTime(view: LegView): { readonly conclusion: string; readonly body: string } | undefined {
  const done = view.measured?.summary.done ?? []
  const timed = done.map(repeat => {
    const changes = replicaChanges(repeat)
    return { repeat, changes, steps: stepReplicas(repeat, changes) }
  })
  const all = timed.flatMap(t => t.steps)
  if (!all.some(step => step.desired !== null || step.ready !== null)) return undefined
  const ready = range(all.map(step => step.ready).flatMap(s => (s === null ? [] : [s.start, s.max, s.end])))
  const desired = all.reduce((top, step) => Math.max(top, step.desired?.max ?? 0), 0)
  const chosen = representative(timed.map(t => ({ ...t, mean: meanReady(t.repeat, t.changes) })))
  const steps = [...Map.groupBy(all, step => step.index)].sort(([a], [b]) => a - b).map(([, same]) => same)
  const positions = steps.map(same => same[0]!)
  const rows = steps
    .slice(0, shownSteps)
    .map(same => [stepLabel(same[0]!, positions), overRepeats(same, 'desired'), overRepeats(same, 'ready')])
  const more = steps.length > shownSteps ? `\n\n… and ${plural(steps.length - shownSteps, 'more step')}.` : ''
  return {
    conclusion: `ready ${ready ?? 'unknown'}, WVA desired up to ${count(desired)}`,
    body: [
      `Replicas at the start of a step / highest / at its end${done.length > 1 ? `, lowest–highest of ${plural(done.length, 'repeat')}` : ''}.`,
      table(['req/s', 'WVA desired', 'Ready'], rows) + more,
      ...(chosen === undefined ? [] : [chosenText(chosen, timed.length), lineOf(chosen)]),
    ].join('\n\n'),
  }
}

function chosenText({ repeat, mean }: Timed & { readonly mean: number }, of: number): string {
  const length = stepWindows(repeat).reduce((last, step) => Math.max(last, step.end), 0)
  const why = of > 1 ? `, of ${count(of)} the one with the median of mean ready replicas (${figure(mean)})` : ''
  return `Repeat ${repeat.index}${why}, over ${duration(Math.round(length))}. At the right the highest value of each line:`
}

type Timed = { readonly repeat: Repeat; readonly changes: ReturnType<typeof replicaChanges> }

/** The lower median by mean ready replicas; of equal ones the first repeat. */
function representative<T extends Timed & { mean: number | null }>(
  timed: readonly T[],
): (T & { mean: number }) | undefined {
  const known = timed
    .filter((t): t is T & { mean: number } => t.mean !== null)
    .sort((a, b) => a.mean - b.mean || a.repeat.index - b.repeat.index)
  const middle = known[Math.floor((known.length - 1) / 2)]
  return middle && known.find(t => t.mean === middle.mean)
}

const meanReady = (repeat: Repeat, changes: Timed['changes']): number | null =>
  overTime(repeat, changes, state => state.ready, 1)[0] ?? null

/** Load, decision and ready replicas, each to its own scale; numbers and our own words only. */
function lineOf({ repeat, changes }: Timed): string {
  const windows = stepWindows(repeat)
  const length = windows.reduce((last, step) => Math.max(last, step.end), 0)
  const load = Array.from({ length: cells }, (_, i) => {
    const second = ((i + 0.5) * length) / cells
    return windows.find(step => second >= step.begin && second < step.end)?.rate ?? 0
  })
  const rows: (readonly [string, readonly (number | null)[], number])[] = [
    ['req/s', load, load.reduce((a, b) => Math.max(a, b), 0)],
  ]
  for (const [label, read] of [
    ['WVA  ', (s: Timed['changes'][number]['state']) => s.wva],
    ['ready', (s: Timed['changes'][number]['state']) => s.ready],
  ] as const) {
    const values = overTime(repeat, changes, read, cells)
    rows.push([label, values, values.reduce<number>((a, b) => Math.max(a, b ?? 0), 0)])
  }
  return [
    '```text',
    ...rows.map(([label, values, top]) => `${label} ${sparkline(values, top)} ${figure(top)}`),
    '```',
  ].join('\n')
}

function overRepeats(same: readonly StepReplicas[], of: 'desired' | 'ready'): string {
  const known = same.map(step => step[of]).filter(value => value !== null)
  if (known.length === 0) return '–'
  const part = (key: keyof StartMaxEnd): string => range(known.map(value => value[key]))!
  return `${part('start')} / ${part('max')} / ${part('end')}`
}

function range(values: readonly number[]): string | undefined {
  if (values.length === 0) return undefined
  const [low, high] = values.reduce(([l, h], v) => [Math.min(l, v), Math.max(h, v)], [values[0]!, values[0]!])
  return low === high ? count(low) : `${count(low)}–${count(high)}`
}
