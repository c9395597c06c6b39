// Standup of the bundled action against the delays that no program can avoid. The list below says what each delay must
// wait for in any order of work, and nothing of how this project does it: one entry per delay, however many replicas
// or nodes meet it at once. Every run has a fresh cluster.
import { median, seconds, startCluster } from './cluster.mjs'

const delays = [
  { name: 'schedule downloader', seconds: 0.3, after: [] },
  { name: 'schedule decode', seconds: 0.3, after: [] },
  { name: 'schedule picker', seconds: 0.3, after: [] },
  { name: 'schedule gateway', seconds: 0.3, after: [] },
  { name: 'schedule smoke', seconds: 0.3, after: [] },
  { name: 'bind volume', seconds: 1, after: [] },
  // A pod with a claim goes to a node only when the claim is bound, and its images go where it went.
  { name: 'pull harness', seconds: 2.5, after: ['schedule downloader', 'bind volume'] },
  { name: 'download weights', seconds: 7, after: ['pull harness'] },
  { name: 'pull vllm', seconds: 9.5, after: ['schedule decode', 'bind volume'] },
  { name: 'pull sidecar', seconds: 1, after: ['schedule decode', 'bind volume'] },
  { name: 'start vllm', seconds: 4.5, after: ['pull vllm', 'pull sidecar', 'download weights'] },
  { name: 'pull picker', seconds: 1.5, after: ['schedule picker'] },
  { name: 'pull gateway', seconds: 3, after: ['schedule gateway'] },
  {
    name: 'smoke test',
    seconds: 0,
    after: ['schedule smoke', 'pull harness', 'start vllm', 'pull picker', 'pull gateway'],
  },
]
const budgetMs = 90_000
const wantedRuns = 3

/** Earliest end of every delay, and the chain that decides the last one. */
function longestPath(list) {
  const byName = new Map(list.map(d => [d.name, d]))
  const ends = new Map()
  const end = name => {
    if (!ends.has(name)) {
      const { seconds, after } = byName.get(name)
      const before = after.toSorted((a, b) => end(b).at - end(a).at)[0]
      ends.set(name, { at: seconds + (before === undefined ? 0 : end(before).at), before })
    }
    return ends.get(name)
  }
  let last = list.toSorted((a, b) => end(b.name).at - end(a.name).at)[0].name
  const total = end(last).at
  const chain = []
  for (; last !== undefined; last = end(last).before) chain.unshift(last)
  return { total, chain, start: name => end(name).at - byName.get(name).seconds }
}

const of = name => delays.find(d => d.name === name).seconds
const roles = [
  [/^download-model/, 'downloader'],
  [/-gaie-epp/, 'picker'],
  [/-decode/, 'decode'],
  [/inference-gateway-istio/, 'gateway'],
  [/^testinference/, 'smoke'],
]
const images = [
  [/llm-d-cuda/, 'pull vllm'],
  [/llm-d-benchmark/, 'pull harness'],
  [/routing-sidecar/, 'pull sidecar'],
  [/inference-scheduler/, 'pull picker'],
  [/proxyv2/, 'pull gateway'],
]
const match = (table, text) => {
  const found = table.find(([pattern]) => pattern.test(text))
  if (found === undefined) throw new Error(`the list of delays has nothing for ${text}`)
  return found[1]
}

/** One standup on a fresh cluster; `factor` 0 takes all delays away. `met`: which delay began when, in ms. */
async function measure(factor) {
  const met = []
  let base = 0
  const meet = name => {
    met.push({ name, at: performance.now() - base })
    return of(name) * factor * 1000
  }
  const cluster = await startCluster({
    downloadMs: of('download weights') * factor * 1000,
    env: { SIM_START_SECONDS: String(of('start vllm') * factor) },
    delays: {
      schedule: pod => meet(`schedule ${match(roles, pod.metadata.name)}`),
      imagePull: (_pod, image) => meet(match(images, image)),
      pvcBind: () => meet('bind volume'),
    },
  })
  try {
    base = performance.now()
    const run = await cluster.step('standup')
    return { wall: run.milliseconds, lines: run.lines, met }
  } finally {
    await cluster.close()
  }
}

/** When the log first showed a text. */
const seen = (run, text) => run.lines.find(l => l.text.includes(text))?.at ?? Number.NaN

function printPhases(run) {
  const marks = [
    ['start, preflight, apply', seen(run, 'applied ')],
    ['until all is ready', seen(run, 'Smoke test')],
    ['smoke test', seen(run, 'serves')],
    ['logs, comment, end', run.wall],
  ]
  let from = 0
  for (const [name, at] of marks) {
    console.log(`    ${name.padEnd(24)} ${seconds(at - from)}`)
    from = at
  }
}

const began = performance.now()
const { total, chain, start } = longestPath(delays)
const sum = delays.reduce((all, d) => all + d.seconds, 0)
console.log('delays:')
for (const d of delays)
  console.log(`  ${d.name.padEnd(20)} ${d.seconds.toFixed(1).padStart(5)} s   after ${d.after.join(', ') || 'nothing'}`)
console.log(`critical path ${total.toFixed(1)} s: ${chain.join(' > ')}`)
console.log(`sum ${sum.toFixed(1)} s, ${(sum / total).toFixed(2)} x the critical path`)

const bare = [await measure(0), await measure(0)]
const fixed = bare.toSorted((a, b) => a.wall - b.wall)[0]
console.log(`without delays: ${bare.map(r => seconds(r.wall)).join(', ')}; the shorter:`)
printPhases(fixed)

const runs = []
for (let longest = 0; runs.length < wantedRuns && performance.now() - began + longest < budgetMs; ) {
  const from = performance.now()
  const run = await measure(1)
  runs.push(run)
  longest = Math.max(longest, performance.now() - from)
  console.log(`run ${runs.length}: ${seconds(run.wall)}`)
}
if (runs.length < wantedRuns) console.log(`only ${runs.length} of ${wantedRuns} runs fitted into ${budgetMs / 1000} s`)

const best = runs.toSorted((a, b) => a.wall - b.wall)[0]
const zero = seen(best, 'applied ')
console.log('fastest run, when each delay began after "applied", and how much later than it had to:')
for (const { name, at } of best.met)
  console.log(`  ${name.padEnd(20)} ${seconds(at - zero)}   ${seconds(at - zero - start(name) * 1000)} late`)
printPhases(best)

const walls = runs.map(r => r.wall)
const middle = median(walls)
const net = middle - fixed.wall
const line = (name, value, goal) =>
  console.log(`${name.padEnd(44)} ${value.toFixed(3)}${goal ? `   goal ${goal}` : ''}`)
console.log(
  `wall: min ${seconds(Math.min(...walls))}, median ${seconds(middle)} of ${walls.length}; fixed part ${seconds(fixed.wall)}`,
)
line('median wall / critical path', middle / 1000 / total, '<= 1.05')
line('(median wall - fixed part) / critical path', net / 1000 / total)
line('sum / median wall', (sum * 1000) / middle, '>= 2')
line('sum / (median wall - fixed part)', (sum * 1000) / net)
console.log(
  'fixed part: a whole standup without delays. Besides start and probes of the containers it holds waits of the',
)
console.log(
  'program itself (polls, API calls), so the lines that take it away can only flatter: read them next to the others',
)
console.log(`bench: ${seconds(performance.now() - began)}`)
