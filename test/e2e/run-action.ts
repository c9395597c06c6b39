import { spawn } from 'node:child_process'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

export const root = path.join(import.meta.dirname, '..', '..')
/** The committed bundle; BENCH_ENTRY=src/index.ts runs the sources instead, for debugging. */
export const bundle =
  process.env.BENCH_ENTRY === undefined
    ? path.join(root, 'dist', 'index.js')
    : path.resolve(root, process.env.BENCH_ENTRY)

export interface ActionRun {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly outputs: Record<string, string>
  readonly state: Record<string, string>
  readonly summary: string
  readonly milliseconds: number
  /** RUNNER_TEMP of this step, for looking at every byte that was written. */
  readonly temp: string
}

export interface ActionStep {
  readonly inputs: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  /** STATE_* of an earlier main: makes this run the post half. */
  readonly state?: Readonly<Record<string, string>>
  readonly temp?: string
  readonly onOutput?: (text: string) => void
  /** Called with the child as soon as it runs, to send signals. */
  readonly onSpawn?: (kill: (signal: NodeJS.Signals) => void) => void
}

/** `name<<delimiter` blocks and `name=value` lines of the files that a runner hands to a step. */
export function parseCommandFile(text: string): Record<string, string> {
  const result: Record<string, string> = {}
  const lines = text.split('\n')
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? ''
    const block = /^([^=<]+)<<(.+)$/.exec(line)
    if (block) {
      const value: string[] = []
      for (i++; i < lines.length && lines[i] !== block[2]; i++) value.push(lines[i] ?? '')
      result[block[1]!] = value.join('\n')
    } else if (line.includes('=')) result[line.slice(0, line.indexOf('='))] = line.slice(line.indexOf('=') + 1)
  }
  return result
}

/**
 * Runs the bundle the way a workflow runner does: inputs as INPUT_* variables, files for outputs, state and summary,
 * nothing else of this process's environment but PATH and HOME.
 */
export async function runAction(step: ActionStep): Promise<ActionRun> {
  const temp = step.temp ?? (await mkdtemp(path.join(tmpdir(), 'bench-action-step-')))
  const files = { GITHUB_OUTPUT: 'output', GITHUB_STATE: 'state', GITHUB_STEP_SUMMARY: 'summary' }
  const env: Record<string, string> = { PATH: process.env.PATH ?? '', HOME: temp, RUNNER_TEMP: temp, ...step.env }
  for (const [name, file] of Object.entries(files)) {
    env[name] = path.join(temp, `${file}-${step.state ? 'post' : 'main'}`)
    await writeFile(env[name], '')
  }
  for (const [name, value] of Object.entries(step.inputs)) env[`INPUT_${name.replace(/ /g, '_').toUpperCase()}`] = value
  for (const [name, value] of Object.entries(step.state ?? {})) env[`STATE_${name}`] = value
  const started = performance.now()
  const child = spawn(process.execPath, [bundle], { env, cwd: temp, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    step.onOutput?.(text)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    step.onOutput?.(text)
  })
  step.onSpawn?.(signal => child.kill(signal))
  const [exitCode, signal] = await new Promise<[number | null, NodeJS.Signals | null]>(resolve =>
    child.on('close', (code, sig) => resolve([code, sig])),
  )
  const read = (name: keyof typeof files) => readFile(env[name]!, 'utf8')
  return {
    exitCode,
    signal,
    stdout,
    stderr,
    outputs: parseCommandFile(await read('GITHUB_OUTPUT')),
    state: parseCommandFile(await read('GITHUB_STATE')),
    summary: await read('GITHUB_STEP_SUMMARY'),
    milliseconds: performance.now() - started,
    temp,
  }
}
