import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { stackObjects } from '../../../src/stack/stack.ts'
import { containersOf, hfToken, only, specWith } from './specs.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'bench-scripts-'))
  mkdirSync(path.join(home, 'bin'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

/** A program on the script's PATH. */
function program(name: string, body: string): void {
  const file = path.join(home, 'bin', name)
  writeFileSync(file, `#!/bin/sh\n${body}\n`)
  chmodSync(file, 0o755)
}
const calls = () => (existsSync(path.join(home, 'calls')) ? readFileSync(path.join(home, 'calls'), 'utf8') : '')

const target = () => path.join(home, 'cache', 'models', 'meta-llama', 'Llama-3.1-8B')

/** Runs the download container's own command with its own environment, on a folder in place of the volume. */
function download(gated = true): { status: number | null; text: string } {
  const [container] = containersOf(only(stackObjects(specWith({}, { gated })), 'Job'))
  const env = Object.fromEntries((container!.env ?? []).map(e => [e.name, e.value ?? hfToken]))
  const [shell, ...flags] = container!.command!
  const run = spawnSync(shell!, [...flags, ...container!.args!], {
    encoding: 'utf8',
    env: {
      ...env,
      HOME: home,
      HF_HOME: path.join(home, 'hf'),
      MOUNT_PATH: path.join(home, 'cache'),
      PATH: `${home}/bin:/usr/bin:/bin`,
    },
  })
  return { status: run.status, text: run.stdout + run.stderr }
}
const hf = (end: string) =>
  program(
    'hf',
    `echo "hf $*" >> "${home}/calls"\nfor a in "$@"; do d=$a; [ "$p" = --local-dir ] && touch "$d/config.json"; p=$a; done\n${end}`,
  )

test('B23: the download writes the marker last, and the next Job finds it and downloads nothing', () => {
  hf('exit 0')
  expect(download()).toMatchObject({ status: 0 })
  expect(calls()).toBe(
    `hf download meta-llama/Llama-3.1-8B --revision main --local-dir ${target()} --exclude original/*\n`,
  )
  expect(readFileSync(path.join(target(), '.bench-complete'), 'utf8')).toBe('meta-llama/Llama-3.1-8B@main\n')
  expect(download().text).toContain('already on the volume')
  expect(calls().trim().split('\n')).toHaveLength(1)
})

test('a marker of another model does not count', () => {
  hf('exit 0')
  mkdirSync(target(), { recursive: true })
  writeFileSync(path.join(target(), '.bench-complete'), 'someone/else@main\n')
  expect(download()).toMatchObject({ status: 0 })
  expect(calls()).toContain('hf download')
})

test('B24: a download that fails leaves no marker and ends the container with an error', () => {
  hf('echo "401 Client Error" >&2; exit 1')
  const { status, text } = download()
  expect(status).toBe(1)
  expect(text).toContain('401 Client Error')
  expect(existsSync(path.join(target(), '.bench-complete'))).toBe(false)
})

test('B23: the login of a gated model keeps the token out of every argument list and out of the log', () => {
  hf('exit 0')
  const { text } = download()
  expect(readFileSync(path.join(home, 'hf', 'token'), 'utf8')).toBe(hfToken)
  expect(calls() + text).not.toContain(hfToken)
  expect(JSON.stringify(only(stackObjects(specWith()), 'Job'))).not.toContain(hfToken)
})

test('B23: an ungated model is downloaded without a login', () => {
  hf('exit 0')
  expect(download(false)).toMatchObject({ status: 0 })
  expect(existsSync(path.join(home, 'hf', 'token'))).toBe(false)
})

test('pip runs only where hf is missing', () => {
  program('pip', `echo "pip $*" >> "${home}/calls"`)
  const { status } = download()
  expect(status).toBe(127)
  expect(calls()).toBe('pip install --quiet huggingface_hub\n')
})

const ended = (child: ChildProcess) =>
  new Promise<{ code: number | null; signal: string | null }>(resolve =>
    child.on('exit', (code, signal) => resolve({ code, signal })),
  )
const printed = (child: ChildProcess, text: string) =>
  new Promise<void>(resolve => child.stdout!.on('data', chunk => String(chunk).includes(text) && resolve()))

/** Starts the vllm container's own command. */
function serve(env: Record<string, string> = {}): ChildProcess {
  const vllm = containersOf(only(stackObjects(specWith()), 'Deployment', 'meta-lla-1ebbf38c-a-3-1-8b-decode')).at(-1)!
  const [shell, ...flags] = vllm.command!
  return spawn(shell!, [...flags, ...vllm.args!], {
    env: { HOME: home, PATH: `${home}/bin:/usr/bin:/bin`, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

test('vllm takes the place of the shell, so that SIGTERM reaches it', async () => {
  program('python3', 'exit 0')
  program('vllm', 'trap \'echo "vllm got TERM"; exit 7\' TERM\necho "started $*"\nwhile :; do sleep 0.05; done')
  const child = serve()
  let text = ''
  child.stdout!.on('data', chunk => {
    text += String(chunk)
  })
  await printed(child, 'started')
  child.kill('SIGTERM')
  expect(await ended(child)).toEqual({ code: 7, signal: null })
  expect(text).toContain('--kv-transfer-config {"kv_connector":"NixlConnector","kv_role":"kv_both"} --enforce-eager')
})

test('what the preprocess script exports reaches vllm, in a shell that is not bash too', async () => {
  program('python3', 'echo "export START_RANK=3" > "$HOME/llmdbench_env.sh"')
  program('vllm', 'echo "rank $START_RANK"')
  const child = serve()
  await printed(child, 'rank 3')
  expect(await ended(child)).toMatchObject({ code: 0 })
})

test('a preprocess script that fails does not stop the server', async () => {
  program('python3', 'exit 1')
  program('vllm', 'echo serving')
  const child = serve()
  await printed(child, 'serving')
  expect(await ended(child)).toMatchObject({ code: 0 })
})

test('the gate opens when the marker appears, and ends at SIGTERM before', async () => {
  const decode = only(stackObjects(specWith()), 'Deployment', 'meta-lla-1ebbf38c-a-3-1-8b-decode')
  const gate = containersOf(decode).find(c => c.name === 'wait-for-weights')!
  program('sleep', 'echo waiting; exec /bin/sleep "$1"')
  const start = () => {
    const script = gate.args![0]!.replaceAll('/model-cache/', `${home}/`)
    return spawn(gate.command![0]!, [...gate.command!.slice(1), script], {
      env: { PATH: `${home}/bin:/usr/bin:/bin` },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  }
  const refused = start()
  await printed(refused, 'waiting')
  refused.kill('SIGTERM')
  expect(await ended(refused)).toEqual({ code: 143, signal: null })
  const opened = start()
  mkdirSync(path.join(home, 'models', 'meta-llama', 'Llama-3.1-8B'), { recursive: true })
  writeFileSync(path.join(home, 'models', 'meta-llama', 'Llama-3.1-8B', '.bench-complete'), '')
  expect(await ended(opened)).toEqual({ code: 0, signal: null })
})

const python = spawnSync('python3', ['--version']).status === 0
const withPython = python ? test : test.skip

withPython.each([
  ['no tools at all', '', 'export START_RANK=0\n'],
  [
    'one active port of two devices',
    [
      `CA 'mlx5_0'`,
      '\tPort 1:',
      '\t\tState: Active',
      '\t\tLink layer: InfiniBand',
      `CA 'mlx5_1'`,
      '\tPort 1:',
      '\t\tState: Down',
    ].join('\n'),
    'export UCX_NET_DEVICES="mlx5_0:1"\nexport NCCL_IB_HCA="=mlx5_0"\nexport START_RANK=0\n',
  ],
  ['output that is not text', '\\377\\376', 'export START_RANK=0\n'],
])('the preprocess script writes its file with %s (skipped without python3)', (_what, ibstat, expected) => {
  const map = only(stackObjects(specWith()), 'ConfigMap', 'llm-d-benchmark-preprocesses')
  const script = path.join(home, 'set.py')
  writeFileSync(script, (map.data as Record<string, string>)['set_llmdbench_environment.py']!)
  if (ibstat !== '') program('ibstat', ibstat.startsWith('\\') ? `printf '${ibstat}'` : `cat <<'END'\n${ibstat}\nEND`)
  const executable = spawnSync('python3', ['-c', 'import sys; print(sys.executable)'], {
    encoding: 'utf8',
  }).stdout.trim()
  const run = spawnSync(executable, [script], {
    encoding: 'utf8',
    env: { HOME: home, PATH: `${home}/bin:/usr/bin:/bin` },
  })
  expect({ status: run.status, stderr: run.stderr }).toEqual({ status: 0, stderr: '' })
  expect(readFileSync(path.join(home, 'llmdbench_env.sh'), 'utf8')).toBe(expected)
})
