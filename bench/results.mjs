// From the last response byte of the last repeat to the end of the run step, with about 20 MB of results: report,
// transfer, check, parsing, stripping, both artifacts, comment. Two shapes: a report with long prompts, and a long log.
import { mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { seconds, startCluster } from './cluster.mjs'

const goalMs = 15_000
const logBytes = 20_000_000

/** A folder whose guidellm runs the next one on PATH and then, once it has written its report, much more to its log. */
async function talkative() {
  const folder = await mkdtemp(path.join(tmpdir(), 'bench-action-talkative-'))
  const line = 'x'.repeat(98)
  const script = `#!/bin/sh
PATH=\${PATH#*:}
guidellm "$@"
code=$?
yes '#${line}' | head -c ${logBytes}
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
  { name: 'report', overrides: profile(20, 12, 14_000), containerPath: async () => [] },
  { name: 'log', overrides: profile(10, 4, 200), containerPath: talkative },
]

/** Every file below a folder: path and bytes. */
async function filesOf(folder) {
  const names = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = names.filter(n => n.isFile()).map(n => path.join(n.parentPath, n.name))
  return Promise.all(files.map(async file => ({ file, bytes: (await stat(file)).size })))
}

