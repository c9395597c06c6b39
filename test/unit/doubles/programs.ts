import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeBin } from '../../sandbox/doubles/registry.ts'

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A folder with the doubles as commands and a model on disk; ends what it started. */
export class Programs {
  readonly folder: string
  readonly #children: ChildProcess[] = []

  private constructor(folder: string) {
    this.folder = folder
  }
  static async create(): Promise<Programs> {
    const programs = new Programs(await mkdtemp(join(tmpdir(), 'bench-doubles-')))
    await writeBin(join(programs.folder, 'bin'), process.execPath)
    await writeFile(join(programs.folder, 'config.json'), '{}')
    return programs
  }

  #spawn(name: string, args: readonly string[], env: Record<string, string>): ChildProcess {
    const own = { PATH: '/usr/bin:/bin', HOME: this.folder }
    const child = spawn(join(this.folder, 'bin', name), args, {
      cwd: this.folder,
      env: { ...own, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#children.push(child)
    return child
  }

  /** Runs a command to its end. */
  run(name: string, args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
    const child = this.#spawn(name, args, env)
    const text = { stdout: '', stderr: '' }
    child.stdout!.on('data', (part: Buffer) => {
      text.stdout += part
    })
    child.stderr!.on('data', (part: Buffer) => {
      text.stderr += part
    })
    return new Promise(resolve => child.on('close', code => resolve({ code, ...text })))
  }

  /** Starts a server and resolves to the first match of `ready` in what it prints. */
  serve(
    name: string,
    args: readonly string[],
    ready: RegExp,
    env: Record<string, string> = {},
  ): Promise<{ child: ChildProcess; match: RegExpExecArray }> {
    const child = this.#spawn(name, args, env)
    let text = ''
    return new Promise((resolve, reject) => {
      child.on('exit', code => reject(new Error(`${name} ended with ${code}: ${text}`)))
      const take = (part: Buffer) => {
        text += part
        const match = ready.exec(text)
        if (match) resolve({ child, match })
      }
      child.stdout!.on('data', take)
      child.stderr!.on('data', take)
    })
  }

  /** vLLM with a model called `sim/model` on a free port. */
  async vllm(env: Record<string, string> = {}): Promise<{ child: ChildProcess; url: string }> {
    const args = [
      'serve',
      this.folder,
      '--port',
      '0',
      '--host',
      '127.0.0.1',
      '--served-model-name',
      'sim/model',
      '--max-model-len',
      '16000',
    ]
    const { child, match } = await this.serve('vllm', args, /Listening on (http:\S+)/, env)
    return { child, url: match[1]! }
  }

  async close(): Promise<void> {
    const open = this.#children.filter(child => child.exitCode === null && child.signalCode === null)
    await Promise.all(
      open.map(child => {
        const gone = new Promise(resolve => child.on('exit', resolve))
        child.kill('SIGKILL')
        return gone
      }),
    )
    await rm(this.folder, { recursive: true, force: true })
  }
}
