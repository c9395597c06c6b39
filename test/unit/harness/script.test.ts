import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from '@jest/globals'
import { harnessScript, readerScript } from '../../../src/harness/script.ts'

const folders: string[] = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})
const shells = ['dash', 'bash'].filter(shell => spawnSync(shell, ['-c', 'true']).status === 0)
const usable = shells.length > 0 ? shells : ['sh']

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly results: string
  readonly file: (name: string) => string
}

/** Runs the harness script with a `guidellm` of the test's own on PATH. */
async function run(shell: string, guidellm: string, onStart?: (pid: number, results: string) => void): Promise<Ended> {
  const folder = mkdtempSync(path.join(tmpdir(), 'harness-script-'))
  folders.push(folder)
  writeFileSync(path.join(folder, 'guidellm'), `#!/bin/sh\n${guidellm}\n`, { mode: 0o755 })
  writeFileSync(path.join(folder, 'harness.sh'), harnessScript)
  const results = path.join(folder, 'requests', 'guidellm_run_1')
  const env = {
    PATH: `${folder}:${process.env.PATH}`,
    RESULTS_DIR: results,
    PROFILE_FILE: '/profiles/chatbot synthetic.yaml',
  }
  const child = spawn(shell, [path.join(folder, 'harness.sh')], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', text => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', text => (stderr += text))
  onStart?.(child.pid!, results)
  const code = await new Promise<number | null>(resolve => child.on('close', resolve))
  return { code, stdout, stderr, results, file: name => readFileSync(path.join(results, name), 'utf8') }
}

const good = `echo before; echo "args: $*"; echo "✔ Setup complete, starting benchmarks..."; echo "| table |"; echo oops >&2; echo '{}' > "$RESULTS_DIR/results.json"`

test.concurrent.each(usable)(
  'B62, B69: with %s, guidellm runs once and leaves report, logs and summary',
  async shell => {
    const ended = await run(shell, good)
    expect(ended).toMatchObject({ code: 0 })
    expect(readdirSync(ended.results).sort()).toEqual(['analysis', 'results.json', 'stderr.log', 'stdout.log'])
    expect(ended.file('stdout.log')).toBe(
      `before\nargs: benchmark --scenario /profiles/chatbot synthetic.yaml --output-path ${ended.results}/results.json --disable-progress\n✔ Setup complete, starting benchmarks...\n| table |\n`,
    )
    expect(ended.file('stderr.log')).toBe('oops\n')
  },
  20_000,
)

test.concurrent.each(usable)(
  'B68: with %s, the summary starts at the line "Setup complete, starting benchmarks"',
  async shell => {
    expect((await run(shell, good)).file('analysis/summary.txt')).toBe(
      '✔ Setup complete, starting benchmarks...\n| table |\n',
    )
  },
  20_000,
)

test.concurrent.each(usable)(
  "with %s, both logs are in the pod's log, every line once",
  async shell => {
    const ended = await run(
      shell,
      `i=0; while [ $i -lt 300 ]; do i=$((i + 1)); echo "line $i"; [ $i = 150 ] && sleep 1; done; echo done >&2`,
    )
    expect(ended.stdout).toBe(
      `${Array.from({ length: 300 }, (_, i) => `line ${i + 1}\n`).join('')}harness: guidellm ended with exit code 0\n`,
    )
    expect(ended.stderr).toContain('done\n')
  },
  20_000,
)

test.concurrent.each(usable)(
  'B66: with %s, a failing guidellm keeps its exit code and its files, and is not run again',
  async shell => {
    const ended = await run(shell, `echo "run" >> "$RESULTS_DIR/runs"; echo "cannot reach server" >&2; exit 3`)
    expect(ended.code).toBe(3)
    expect(ended.file('runs')).toBe('run\n')
    expect(ended.file('stderr.log')).toBe('cannot reach server\n')
    expect(ended.file('analysis/summary.txt')).toBe('')
    expect(ended.stderr).toContain('harness: guidellm printed no summary')
  },
  20_000,
)

test.concurrent.each(usable)(
  'with %s, SIGTERM reaches guidellm and the script ends with its exit code',
  async shell => {
    const started = Date.now()
    const ended = await run(
      shell,
      'trap "exit 143" TERM; echo up > "$RESULTS_DIR/up"; i=0; while [ $i -lt 200 ]; do sleep 0.1; i=$((i + 1)); done',
      (pid, results) => {
        const wait = setInterval(() => {
          if (!existsSync(path.join(results, 'up'))) return
          clearInterval(wait)
          process.kill(pid, 'SIGTERM')
        }, 20)
      },
    )
    expect(ended.code).toBe(143)
    expect(Date.now() - started).toBeLessThan(10_000)
  },
  20_000,
)

test.concurrent.each(usable)(
  'with %s, a missing guidellm is exit code 127, said in stderr.log',
  async shell => {
    const folder = mkdtempSync(path.join(tmpdir(), 'harness-script-'))
    folders.push(folder)
    const ended = spawnSync(shell, ['-c', harnessScript], {
      env: { PATH: '/usr/bin:/bin', RESULTS_DIR: path.join(folder, 'r'), PROFILE_FILE: 'x' },
      encoding: 'utf8',
    })
    expect(ended.status).toBe(127)
    expect(readFileSync(path.join(folder, 'r', 'stderr.log'), 'utf8')).toContain('guidellm')
  },
  20_000,
)

test.concurrent.each(usable)(
  'with %s, the results container ends when it is told that everything was copied, or on SIGTERM',
  async shell => {
    const folder = mkdtempSync(path.join(tmpdir(), 'harness-script-'))
    folders.push(folder)
    const script = readerScript.replaceAll('/requests', folder)
    const start = () => {
      const child = spawn(shell, ['-c', script], { stdio: 'ignore' })
      return { child, ended: new Promise<number | null>(resolve => child.on('close', resolve)) }
    }
    const told = start()
    const terminated = start()
    await new Promise(resolve => setTimeout(resolve, 300))
    terminated.child.kill('SIGTERM')
    expect(await terminated.ended).toBe(0)
    writeFileSync(path.join(folder, '.collected'), '')
    expect(await told.ended).toBe(0)
  },
  20_000,
)
