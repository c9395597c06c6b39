// Runs mode: run on the sandbox with the real guidellm 0.5.0 in place of the double. The Python environment (guidellm and a
// tokenizer that is made, not downloaded) lives in a cache folder outside the checkout and is built on first use.
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'

// transformers 5 breaks the import of guidellm 0.5.0; the others are what it was tried with.
const requirements = ['guidellm==0.5.0', 'transformers<5']
const cache =
  process.env.BENCH_ACTION_CACHE ??
  path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'bench-action')
const name = 'guidellm-0.5.0'
const home = path.join(cache, name)
const stamp = path.join(home, 'ready')
const wanted = `${requirements.join(' ')}\n${readFileSync('test/guidellm/make_tokenizer.py', 'utf8')}`

function python() {
  for (const candidate of ['python3.12', 'python3.11', 'python3.10', 'python3']) {
    const probe = spawnSync(
      candidate,
      ['-c', 'import sys, venv; print(sys.version_info[:2] >= (3, 10) and sys.version_info[:2] <= (3, 13))'],
      { encoding: 'utf8' },
    )
    if (probe.status === 0 && probe.stdout.trim() === 'True') return candidate
  }
  console.error('guidellm ring: needs Python 3.10 to 3.13 with venv')
  process.exit(1)
}

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== wanted) {
  const started = Date.now()
  console.log(`guidellm ring: building the environment in ${home} (once, some minutes) ...`)
  rmSync(home, { recursive: true, force: true })
  mkdirSync(path.join(home, 'bin'), { recursive: true })
  const run = (command, args) =>
    execFileSync(command, args, {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, HF_HUB_OFFLINE: '1' },
    })
  run(python(), ['-m', 'venv', path.join(home, 'venv')])
  run(path.join(home, 'venv', 'bin', 'pip'), ['install', '--quiet', '--disable-pip-version-check', ...requirements])
  run(path.join(home, 'venv', 'bin', 'python'), ['test/guidellm/make_tokenizer.py', path.join(home, 'tokenizer')])
  writeFileSync(`${stamp}.new`, wanted)
  renameSync(`${stamp}.new`, stamp)
  console.log(`guidellm ring: built in ${Math.round((Date.now() - started) / 1000)} s`)
}

// Only guidellm goes onto the containers' PATH, not the environment's python and pip. Python's multiprocessing makes unix
// sockets in TMPDIR, whose path must stay under 108 characters: a container's own folder is longer.
writeFileSync(
  path.join(home, 'bin', 'guidellm'),
  `#!/bin/sh\nTMPDIR=/tmp exec '${path.join(home, 'venv', 'bin', 'guidellm')}' "$@"\n`,
)
chmodSync(path.join(home, 'bin', 'guidellm'), 0o755)

const jest = spawnSync(
  process.execPath,
  [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    'node_modules/jest/bin/jest.js',
    'test/guidellm',
    ...process.argv.slice(2),
  ],
  { stdio: 'inherit', env: { ...process.env, BENCH_GUIDELLM: home } },
)
process.exit(jest.status ?? 1)
