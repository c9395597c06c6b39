// The whole comparison on the sandbox, by the bundle, the way a workflow runner starts a matrix: both legs at once, each
// standup, run, teardown, post.
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { type ActionRun, runAction } from '../e2e/run-action.ts'
import { leftovers } from '../e2e/world.ts'
import { startGithub } from '../sandbox/github/server.ts'
import { startHub } from '../sandbox/hub.ts'
import { startSandbox } from '../sandbox/sandbox.ts'
import { hpaBehavior, parameterSets, platform, workloadOverrides } from './parameters.ts'

const { values: args } = parseArgs({
  options: { set: { type: 'string', default: 'worth' }, repeats: { type: 'string' } },
})
const set = parameterSets[args.set]
if (set === undefined) {
  console.error(`--set is one of: ${Object.keys(parameterSets).join(', ')}`)
  process.exit(2)
}
const repeats = args.repeats ?? String(set.repeats)
const started = performance.now()
const elapsed = () => `${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s`
const say = (line: string) => console.log(`${elapsed()}  ${line}`)
const model = 'meta-llama/Llama-3.1-8B'
const token = 'hf_demo_0123456789abcdefghij'

say(`"${set.title}": ${set.truth}`)
say('starting the sandbox: Kubernetes API, nodes, autoscaling platform, model hub, GitHub')
const hub = await startHub({ gated: { [model]: [token] } })
const sandbox = await startSandbox({ hosts: [hub.url], env: set.server, speed: 5, wva: platform, hpaSyncMs: 500 })
const github = await startGithub({ pr: 7 })
const temp = await mkdtemp(path.join(tmpdir(), 'bench-action-demo-'))
const width = Math.max(...set.legs.map(l => l.name.length))

interface Done {
  readonly mode: string
  readonly run: ActionRun
  readonly inputs: Record<string, string>
}

/** Runs one step, showing the lines that a person would follow. */
async function step(leg: string, inputs: Record<string, string>): Promise<Done> {
  const mode = inputs.mode!
  const tag = leg.padEnd(width)
  say(`${tag}  --- ${mode}`)
  const all = { ...inputs, out: path.join(temp, leg, mode) }
  const run = await runAction({
    inputs: all,
    env: github.env,
    onOutput: text => {
      for (const line of text.split('\n')) {
        if (line.trim() === '' || /^::(add-mask|debug|set-output|save-state|endgroup)/.test(line)) continue
        if (
          /^(Artifact|Root directory|Beginning upload|Uploaded bytes|Finished upload|SHA256|Finalizing|Uploading|Found)/.test(
            line,
          )
        )
          continue
        console.log(`${elapsed()}  ${tag}  ${line.replace(/^::(group|warning|error)::/, '$1: ')}`)
      }
    },
  })
  if (run.exitCode !== 0) say(`${tag}  --- ${mode} FAILED (exit ${run.exitCode}) ${run.stderr}`)
  return { mode, run, inputs: all }
}

/** One job of the matrix; the runner runs teardown and post steps whatever happened before, post in reverse order. */
async function job(leg: (typeof parameterSets)[string]['legs'][number], index: number): Promise<boolean> {
  const common = {
    kubeconfig: sandbox.kubeconfig,
    namespace: `llm-d-bench-${leg.name}`,
    model,
    'github-token': github.token,
    matrix: JSON.stringify(leg.name === 'again' ? { wva: false, again: true } : { wva: leg.wva }),
    strategy: JSON.stringify({ 'job-index': index, 'job-total': set!.legs.length, 'fail-fast': false }),
  }
  const standup = await step(leg.name, {
    ...common,
    ...{ mode: 'standup', wva: String(leg.wva), replicas: String(leg.replicas) },
    ...{ 'max-replicas': String(set!.maxReplicas), 'hpa-behavior': hpaBehavior(set!) },
    ...{ 'hf-token': token, 'hf-endpoint': hub.url, 'model-cache-size': '20Gi', 'settle-window': platform.window },
  })
  const done = [standup]
  if (standup.run.exitCode === 0) {
    const load = {
      mode: 'run',
      repeats,
      'workload-overrides': workloadOverrides(set!),
      'settle-window': platform.window,
      'slo-ttft': set!.slo.ttft,
      'slo-tpot': set!.slo.tpot,
    }
    done.push(await step(leg.name, { ...common, ...load }))
  }
  done.push(await step(leg.name, { ...common, mode: 'teardown' }))
  for (const { mode, run, inputs } of done.toReversed()) {
    const post = await runAction({ inputs, env: github.env, state: run.state })
    for (const line of post.stdout.split('\n').filter(l => l.startsWith('post:') || l.startsWith('::warning')))
      say(`${leg.name.padEnd(width)}  ${mode} ${line}`)
  }
  return done.length === 3 && done.every(d => d.run.exitCode === 0)
}

/** The table of one repeat of the WVA leg, as it is in the artifact. */
async function showReplicas(): Promise<void> {
  const results = [...github.artifacts()].find(([name]) => /\.wva\.results\.a1$/.test(name))
  const name = Object.keys(results?.[1].files ?? {}).find(n => /^r1\/analysis\/.*replicas\.txt$/.test(n))
  if (name === undefined) return
  console.log(`\n${'='.repeat(20)} ${name} of ${results![0]} ${'='.repeat(20)}\n`)
  console.log(results![1].files[name]!.toString('utf8'))
}

let failed = true
try {
  const before = sandbox.snapshot()
  say('ready')
  const setUp = performance.now()
  const fine = await Promise.all(set.legs.map(job))
  const after = sandbox.snapshot()
  const wall = (performance.now() - setUp) / 1000

  console.log(`\n${'='.repeat(20)} the pull request comment, as it was posted ${'='.repeat(20)}\n`)
  for (const comment of github.comments()) console.log(comment.body)
  await showReplicas()
  console.log('='.repeat(84))
  console.log('\nartifacts:')
  for (const [name, artifact] of github.artifacts())
    console.log(`  ${name}: ${Object.keys(artifact.files).length} files, ${artifact.zip.length} bytes`)
  const legs = set.legs.map(l => path.join(temp, l.name, 'run', 'leg.json'))
  for (const file of legs) {
    const leg = JSON.parse(await readFile(file, 'utf8').catch(() => '{}')) as {
      repeats?: { settled?: { how: string; seconds: number } }[]
    }
    const settled = (leg.repeats ?? []).flatMap(r => (r.settled ? [`${r.settled.how} ${r.settled.seconds} s`] : []))
    if (settled.length > 0) console.log(`start states: ${settled.join(', ')}`)
  }
  console.log(`everything on this machine: ${temp}`)

  console.log('\nevery listable resource, before and after:')
  const gone = before.filter(line => !after.includes(line))
  const left = after.filter(line => !before.includes(line))
  const events = left.filter(line => line.startsWith('v1 Event '))
  for (const line of gone) console.log(`  - ${line}`)
  for (const line of left.filter(l => !events.includes(l))) console.log(`  + ${line}`)
  console.log(`  + ${events.length} Event objects (a server drops them after an hour)`)
  const unexpected = leftovers(before, after)
  console.log(
    unexpected.length === 0 && gone.length === 0
      ? '  (nothing but what is kept on purpose: the namespaces with their defaults, the weights, the token)'
      : `  UNEXPECTED: ${[...gone, ...unexpected].join('; ')}`,
  )
  failed = unexpected.length + gone.length > 0 || github.comments().length !== 1 || fine.includes(false)
  console.log(`\nwall time ${wall.toFixed(1)} s (set-up ${((setUp - started) / 1000).toFixed(1)} s)`)
} finally {
  await sandbox.close()
  await Promise.all([hub.close(), github.close()])
}
process.exit(failed ? 1 : 0)
