// From the last response byte of the last repeat to the end of the run step, with about 20 MB of results: report,
// transfer, check, parsing, stripping, both artifacts, comment. Two shapes: a report with long prompts, and a long log.
import { mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { seconds, startCluster } from './cluster.mjs'

const goalMs = 15_000

/** A folder whose guidellm runs the next one on PATH, tells when that ended and how large its report is, and then talks. */
async function wrapper(talkBytes) {
  const folder = await mkdtemp(path.join(tmpdir(), 'bench-action-guidellm-'))
  const script = `#!/bin/sh
PATH=\${PATH#*:}
guidellm "$@"
code=$?
echo "BENCH ended $(date +%s.%N) report $(wc -c <"$RESULTS_DIR/results.json")"
base64 /dev/urandom | head -c ${talkBytes}
exit $code
`
  await writeFile(path.join(folder, 'guidellm'), script, { mode: 0o755 })
  return [folder]
}

const profile = (rate, maxSeconds, promptTokens) =>
  [
    `rate: [${rate}]`,
    `max_seconds: ${maxSeconds}`,
    `data.prompt_tokens: ${promptTokens}`,
    'data.prompt_tokens_stdev: 10',
    `data.prompt_tokens_max: ${promptTokens + 50}`,
    'data.output_tokens: 20',
    'data.output_tokens_stdev: 5',
    'data.output_tokens_max: 40',
  ].join('\n')

const cases = [
  { name: 'report of long prompts', overrides: profile(40, 12, 7000), talkBytes: 0 },
  { name: 'long log', overrides: profile(10, 4, 200), talkBytes: 20_000_000 },
]

/** Every file below a folder: path and bytes. */
async function filesOf(folder) {
  const names = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = names.filter(n => n.isFile()).map(n => path.join(n.parentPath, n.name))
  return Promise.all(files.map(async file => ({ file, bytes: (await stat(file)).size })))
}

/** Milliseconds since the epoch at which the last response of any repeat ended, by guidellm's own records. */
function lastByte(leg) {
  const steps = leg.repeats.flatMap(r => r.steps)
  return Math.max(...steps.flatMap(s => s.rows.end.filter(end => end !== null).map(end => (s.begin + end) * 1000)))
}

async function measure({ overrides, talkBytes }) {
  // Servers fast enough to complete what is asked of them: a request that is cut off has no last byte.
  const cluster = await startCluster({ containerPath: await wrapper(talkBytes), env: { SIM_SPEED: '40' } })
  try {
    await cluster.step('standup')
    const run = await cluster.step('run', { 'workload-overrides': overrides })
    const ended = Date.now()
    const files = await filesOf(run.out)
    const log = files.find(f => f.file.endsWith('stdout.log'))
    const [, guidellm, report] = /BENCH ended (\S+) report (\d+)/.exec(await readFile(log.file, 'utf8'))
    const leg = JSON.parse(await readFile(path.join(run.out, 'leg.json'), 'utf8'))
    const rows = leg.repeats.flatMap(r => r.steps.flatMap(s => s.rows.status))
    const last = lastByte(leg)
    return {
      ...{ total: ended - last, writing: guidellm * 1000 - last, own: ended - guidellm * 1000 },
      ...{
        report: Number(report),
        log: log.bytes,
        records: rows.length,
        completed: rows.filter(s => s === 'c').length,
      },
      lines: run.lines,
    }
  } finally {
    await cluster.close()
  }
}

const mb = bytes => `${(bytes / 1e6).toFixed(1)} MB`
const began = performance.now()
const totals = []
for (const one of cases) {
  const r = await measure(one)
  totals.push(r.total)
  console.log(
    `${one.name}: report ${mb(r.report)} of ${r.records} requests (${r.completed} completed), stdout.log ${mb(r.log)}`,
  )
  console.log(`  last response byte to the end of the step ${seconds(r.total)}   goal <= ${goalMs / 1000} s`)
  console.log(`  of it guidellm until its report is written ${seconds(r.writing)}, the rest ${seconds(r.own)}`)
  if (process.argv.includes('--log'))
    for (const l of r.lines) console.log(`  ${seconds(l.at)}  ${l.text.slice(0, 200)}`)
}
console.log(`longest ${seconds(Math.max(...totals))}; bench: ${seconds(performance.now() - began)}`)
