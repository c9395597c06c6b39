// How long a WVA leg takes to come back to its start state, 1 replica at rest, after a repeat that scaled it: by the reset,
// and by waiting until the autoscaler has taken the replicas away. All intervals of the chain are those of a real cluster
// divided by 20, so the times of both are comparable with each other and, times 20, with minutes there.
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { seconds, startCluster } from './cluster.mjs'

const scale = 20
const s = real => `${(1000 * real) / scale}ms`
const wva = { reconcile: s(60), scrape: s(15), window: s(60), relist: s(30) }
const hpaSyncMs = (15 * 1000) / scale
/** 240 s on a real cluster; the API takes whole seconds. */
const downSeconds = 240 / scale
// Short of the ceiling: a decision above it is frozen there for good, and waiting would never end.
const load = [
  'rate: [24]',
  'max_seconds: 8',
  'data.prompt_tokens: 100',
  'data.prompt_tokens_stdev: 20',
  'data.prompt_tokens_max: 200',
  'data.output_tokens: 40',
  'data.output_tokens_stdev: 5',
  'data.output_tokens_max: 80',
].join('\n')

async function measure(settle) {
  const cluster = await startCluster({ wva, hpaSyncMs, env: { SIM_MAX_SEQS: '4', SIM_STEP_MS: '15' } })
  try {
    await cluster.step('standup', {
      matrix: '{"wva": true}',
      wva: 'true',
      'max-replicas': '10',
      'settle-window': wva.window,
      'hpa-behavior': `scaleUp: {stabilizationWindowSeconds: 0}\nscaleDown: {stabilizationWindowSeconds: ${downSeconds}}`,
    })
    const run = await cluster.step('run', {
      matrix: '{"wva": true}',
      repeats: '2',
      settle,
      'settle-window': wva.window,
      'workload-overrides': load,
    })
    const leg = JSON.parse(await readFile(path.join(run.out, 'leg.json'), 'utf8'))
    const most = Math.max(...leg.repeats[0].events.map(e => (e.kind === 'Deployment' ? e.desired : 0)))
    return { ...leg.repeats[1].settled, most }
  } finally {
    await cluster.close()
  }
}

const began = performance.now()
const results = []
for (const settle of ['reset', '120s']) {
  const r = await measure(settle)
  results.push(r)
  console.log(
    `settle: ${settle.padEnd(5)}  from ${r.most} replicas: ${r.how} in ${r.seconds} s (times ${scale}: ${Math.round(r.seconds * scale)} s)${r.carriedOver ? `, carried over: ${r.carriedOver}` : ''}`,
  )
}
const [reset, waited] = results
console.log(`waiting takes ${(waited.seconds / reset.seconds).toFixed(1)} x as long as the reset`)
console.log(`bench: ${seconds(performance.now() - began)}`)
