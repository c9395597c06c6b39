// The whole chain on the sandbox, by the bundle, the way a workflow runner starts it: standup, run, teardown, post.
import { existsSync, readdirSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type ActionRun, runAction } from '../e2e/run-action.ts'
import { leftovers } from '../e2e/world.ts'
import { startGithub } from '../sandbox/github/server.ts'
import { startHub } from '../sandbox/hub.ts'
import { startSandbox } from '../sandbox/sandbox.ts'

const started = performance.now()
const elapsed = () => `${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s`
const say = (line: string) => console.log(`${elapsed()}  ${line}`)
const model = 'meta-llama/Llama-3.1-8B'
const namespace = 'llm-d-bench'
const token = 'hf_demo_0123456789abcdefghij'

say('starting the sandbox: Kubernetes API, nodes, model hub, GitHub')
const hub = await startHub({ gated: { [model]: [token] } })
const sandbox = await startSandbox({ hosts: [hub.url] })
const github = await startGithub({ pr: 7 })
const temp = await mkdtemp(path.join(tmpdir(), 'bench-action-demo-'))
const common = {
  kubeconfig: sandbox.kubeconfig,
  namespace,
  model,
  'github-token': github.token,
  matrix: '{"wva": false}',
}
const overrides =
  'rate: [2, 4, 8]\nmax_seconds: 6\ndata.prompt_tokens: 400\ndata.prompt_tokens_stdev: 100\ndata.prompt_tokens_max: 800\ndata.output_tokens: 60\ndata.output_tokens_stdev: 20\ndata.output_tokens_max: 120'

let failed = false
const done: { name: string; run: ActionRun; inputs: Record<string, string> }[] = []

/** Runs one step, showing the lines that a person would follow. */
async function step(name: string, inputs: Record<string, string>): Promise<void> {
  say(`--- ${name}`)
  const run = await runAction({
    inputs: { ...inputs, out: path.join(temp, name) },
    env: github.env,
    onOutput: text => {
      for (const line of text.split('\n')) {
        if (line.trim() === '' || /^::(add-mask|debug|set-output|save-state|endgroup)/.test(line)) continue
        console.log(`${elapsed()}    ${line.replace(/^::(group|warning|error)::/, '$1: ')}`)
      }
    },
  })
  done.push({ name, run, inputs: { ...inputs, out: path.join(temp, name) } })
  if (run.exitCode !== 0) {
    failed = true
    say(`--- ${name} FAILED (exit ${run.exitCode}) ${run.stderr}`)
  }
}

try {
  const before = sandbox.snapshot()
  say('ready')
  const setUp = performance.now()
  await step('standup', {
    ...common,
    mode: 'standup',
    'hf-token': token,
    'hf-endpoint': hub.url,
    'model-cache-size': '20Gi',
  })
  if (!failed) await step('run', { ...common, mode: 'run', repeats: '2', 'workload-overrides': overrides })
  await step('teardown', { ...common, mode: 'teardown' })
  // The runner runs post steps in reverse order, whatever happened before.
  for (const { name, run, inputs } of done.toReversed()) {
    const post = await runAction({ inputs, env: github.env, state: run.state })
    for (const line of post.stdout.split('\n').filter(l => l.startsWith('post:') || l.startsWith('::warning')))
      say(`${name} ${line}`)
  }
  const after = sandbox.snapshot()
  const wall = (performance.now() - setUp) / 1000

  console.log(`\n${'='.repeat(20)} the pull request comment, as it was posted ${'='.repeat(20)}\n`)
  for (const comment of github.comments()) console.log(comment.body)
  console.log('='.repeat(84))
  console.log('\nartifacts:')
  for (const [name, artifact] of github.artifacts())
    console.log(`  ${name}: ${Object.keys(artifact.files).length} files, ${artifact.zip.length} bytes`)
  const results = path.join(temp, 'run', 'results')
  if (existsSync(results))
    console.log(`results: ${results}\n  ${readdirSync(results, { recursive: true }).map(String).sort().join('\n  ')}`)

  console.log('\nevery listable resource, before and after:')
  const gone = before.filter(line => !after.includes(line))
  const left = after.filter(line => !before.includes(line))
  const events = left.filter(line => line.startsWith('v1 Event '))
  for (const line of gone) console.log(`  - ${line}`)
  for (const line of left.filter(l => !events.includes(l))) console.log(`  + ${line}`)
  console.log(`  + ${events.length} Event objects in ${namespace} (a server drops them after an hour)`)
  const unexpected = leftovers(before, after)
  console.log(
    unexpected.length === 0 && gone.length === 0
      ? '  (nothing but what is kept on purpose: the namespace with its defaults, the weights, the token)'
      : `  UNEXPECTED: ${[...gone, ...unexpected].join('; ')}`,
  )
  if (unexpected.length + gone.length > 0 || github.comments().length !== 1) failed = true
  console.log(`\nwall time ${wall.toFixed(1)} s (set-up ${((setUp - started) / 1000).toFixed(1)} s)`)
} finally {
  await sandbox.close()
  await Promise.all([hub.close(), github.close()])
}
process.exit(failed ? 1 : 0)
