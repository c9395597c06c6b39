import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'

// The stack's own script runs without Python, so that a machine with only Node can play a pod; the rest needs a real one.
const argv = process.argv.slice(2)
const real = '/usr/bin/python3'

if (argv[0]?.endsWith('/set_llmdbench_environment.py')) {
  if (!existsSync(argv[0])) {
    console.error(`python3: can't open file '${argv[0]}': [Errno 2] No such file or directory`)
    process.exit(2)
  }
  const rank = Number(process.env.LWS_WORKER_INDEX ?? 0) * Number(process.env.DP_SIZE_LOCAL ?? 1)
  writeFileSync(
    join(process.env.HOME ?? '/tmp', 'llmdbench_env.sh'),
    `export START_RANK=${Number.isFinite(rank) ? rank : 0}\n`,
  )
  process.exit(0)
}
if (!existsSync(real)) {
  console.error('python3: not found')
  process.exit(127)
}
const { status, signal } = spawnSync(real, argv, { stdio: 'inherit' })
process.exit(status ?? 128 + constants.signals[signal!])
