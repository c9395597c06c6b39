import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { fieldByName, type Mode } from '../../../src/inputs/fields.ts'
import { parseInputs } from '../../../src/inputs.ts'

interface Step {
  readonly uses?: string
  readonly if?: string
  readonly with?: Readonly<Record<string, unknown>>
}
interface Job {
  readonly 'timeout-minutes'?: number
  readonly permissions?: unknown
  readonly strategy?: { readonly 'fail-fast'?: boolean; readonly matrix?: Readonly<Record<string, unknown[]>> }
  readonly steps: readonly Step[]
}
interface Workflow {
  readonly permissions?: unknown
  readonly jobs: Readonly<Record<string, Job>>
}

const folder = '.github/workflows'
/** Whole workflows: those of the repository, and the one that README.md begins with (its jobs alone). */
const workflows: readonly (readonly [string, Workflow])[] = [
  ...readdirSync(folder).map(f => [f, parse(readFileSync(`${folder}/${f}`, 'utf8')) as Workflow] as const),
  ...[...readFileSync('README.md', 'utf8').matchAll(/```yaml\n(jobs:\n[\s\S]*?)```/g)].map(
    m => ['README.md', parse(m[1]!) as Workflow] as const,
  ),
]
const jobs = workflows.flatMap(([file, w]) => Object.values(w.jobs).map(job => [file, job] as const))
const isOwn = (step: Step): boolean => step.uses?.includes('/bench-action@') ?? false
const benches = jobs.filter(([, job]) => job.steps.some(isOwn))

const kubeconfig =
  'apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: "https://10.0.0.1"}}]\nusers: [{name: u, user: {token: abcdefgh}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n'
/** What a runner would make of the expressions in a value, for one leg of the matrix. */
function evaluated(value: unknown, leg: Readonly<Record<string, unknown>>): string {
  return String(value).replaceAll(/\$\{\{\s*([\w.]+)\s*\}\}/g, (all, path: string) => {
    const [scope, name = ''] = path.split('.')
    if (scope === 'matrix' && name in leg) return String(leg[name])
    if (scope === 'secrets') return name.includes('KUBECONFIG') ? kubeconfig : 'a-secret'
    throw new Error(`${all} has no value here`)
  })
}
const legsOf = ({ strategy }: Job): Record<string, unknown>[] =>
  Object.entries(strategy?.matrix ?? {}).reduce<Record<string, unknown>[]>(
    (legs, [name, values]) => legs.flatMap(leg => values.map(value => ({ ...leg, [name]: value }))),
    [{}],
  )
/** The steps of one leg, with the inputs that a runner would hand to them. */
const stepsOf = (job: Job, leg: Readonly<Record<string, unknown>>) =>
  job.steps.filter(isOwn).map(step => ({
    condition: step.if,
    raw: Object.fromEntries(Object.entries(step.with ?? {}).map(([name, value]) => [name, evaluated(value, leg)])),
  }))

test('the examples are there: one leg, and both legs in the files and in README.md', () => {
  const legs = benches.map(([file, job]) => [file, legsOf(job).map(leg => leg.wva)])
  expect(legs).toEqual([
    ['example-baseline.yml', [false]],
    ['example-matrix.yml', [true, false]],
    ['README.md', [true, false]],
  ])
})

test.each(benches)('%s: every step has only inputs of its mode, with valid values, in every leg', (_file, job) => {
  for (const leg of legsOf(job)) {
    for (const { raw } of stepsOf(job, leg)) {
      const foreign = Object.keys(raw).filter(name => !fieldByName.get(name)?.modes.includes(raw.mode as Mode))
      expect({ mode: raw.mode, foreign }).toEqual({ mode: raw.mode, foreign: [] })
      const parsed = parseInputs(raw, { door: 'action' })
      expect('problems' in parsed ? parsed.problems : []).toEqual([])
    }
  }
})

test.each(benches)('%s: standup, run and teardown are of one stack, and teardown always comes', (_file, job) => {
  expect(job.strategy?.['fail-fast']).toBe(false)
  for (const leg of legsOf(job)) {
    const steps = stepsOf(job, leg)
    expect(steps.map(s => s.raw.mode)).toEqual(['standup', 'run', 'teardown'])
    expect(steps.map(s => s.condition)).toEqual([undefined, undefined, 'always()'])
    // The three of them say whose comment and which stack this is.
    for (const name of ['kubeconfig', 'namespace', 'model', 'workload'])
      expect(new Set(steps.map(s => s.raw[name]))).toHaveProperty('size', 1)
  }
})

test.each(jobs)('%s: foreign actions are pinned by commit, and a checkout leaves no credentials', (_file, job) => {
  for (const step of job.steps.filter(s => s.uses !== undefined && !isOwn(s))) {
    expect(step.uses).toMatch(/@[0-9a-f]{40}$/)
    if (step.uses!.startsWith('actions/checkout@')) expect(step.with?.['persist-credentials']).toBe(false)
  }
})

test.each(workflows.filter(([file]) => file !== 'README.md'))(
  '%s grants nothing but what a job names, and every job has a time limit',
  (_file, workflow) => {
    expect(workflow.permissions).toEqual({})
    for (const job of Object.values(workflow.jobs)) {
      expect(job.permissions).toBeDefined()
      expect(job['timeout-minutes']).toBeGreaterThan(0)
    }
  },
)
