// Teardown of a full stack by the bundled action while every API request takes 50 ms longer. The time in which the
// cluster itself ends the pods (grace) is read from the cluster: first pod asked to go until the last one has gone.
// In one case all pods end at once, in the others one of them takes its time, as a real server does.
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { namespace, seconds, startCluster } from './cluster.mjs'

const latencyMs = 50
const graceSeconds = [0, 0, 2, 4, 6, 8]
const goalMs = 2000
const budgetMs = 90_000

/** A folder whose endpoint picker ends that long after it was asked to. */
async function slowPicker(wait) {
  const folder = await mkdtemp(path.join(tmpdir(), 'bench-action-slow-'))
  const script = `#!/bin/sh
PATH=\${PATH#*:}
epp "$@" &
child=$!
trap 'sleep ${wait}; kill $child 2>/dev/null; exit 0' TERM
wait $child
`
  await writeFile(path.join(folder, 'epp'), script, { mode: 0o755 })
  return [folder]
}

/** When the pods of the namespace were first asked to go, and when the last of them had gone. */
function followPods(store) {
  const times = { asked: undefined, gone: undefined, pods: new Set() }
  const stop = store.subscribe(({ type, object }) => {
    if (object.kind !== 'Pod' || object.metadata.namespace !== namespace) return
    const at = performance.now()
    if (object.metadata.deletionTimestamp !== undefined) {
      times.asked ??= at
      times.pods.add(object.metadata.name)
    }
    if (type === 'DELETED') times.gone = at
  })
  return { times, stop }
}

async function measure(grace) {
  const cluster = await startCluster(grace > 0 ? { containerPath: await slowPicker(grace) } : {})
  try {
    await cluster.step('standup')
    const { api, faults } = cluster.sandbox
    const objects = cluster.sandbox.snapshot().filter(l => l.includes(` ${namespace}/`) && !/ Event /.test(l)).length
    const { times, stop } = followPods(api.store)
    faults.api.latencyMs = latencyMs
    const from = api.requests().length
    const run = await cluster.step('teardown')
    stop()
    if (run.outputs.leftovers !== '0') throw new Error(`left over: ${run.outputs.leftovers}`)
    const requests = api.requests().slice(from)
    return {
      ...{ wall: run.milliseconds, grace: times.gone - times.asked, objects, pods: times.pods.size, lines: run.lines },
      requests: requests.filter(r => r.userAgent === 'llm-d-bench-action').length,
    }
  } finally {
    await cluster.close()
  }
}

const began = performance.now()
const runs = []
for (const grace of graceSeconds) {
  // A run takes about this much more than its grace.
  if (performance.now() - began + grace * 1000 + 10_000 > budgetMs) break
  const r = await measure(grace)
  runs.push(r)
  console.log(
    `${r.objects} objects, ${r.pods} pods, grace ${seconds(r.grace)}: wall ${seconds(r.wall)}, without grace ${seconds(r.wall - r.grace)}, ${r.requests} requests`,
  )
  if (process.argv.includes('--log')) for (const l of r.lines) console.log(`  ${seconds(l.at)}  ${l.text}`)
}
const worst = Math.max(...runs.map(r => r.wall - r.grace))
if (runs.length < graceSeconds.length)
  console.log(`only ${runs.length} of ${graceSeconds.length} cases fitted into ${budgetMs / 1000} s`)
console.log(
  `API latency ${latencyMs} ms: longest wall without grace ${seconds(worst)}   goal <= ${seconds(goalMs).trim()}`,
)
console.log(`bench: ${seconds(performance.now() - began)}`)
