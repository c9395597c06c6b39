import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Readable } from 'node:stream'

export interface Exit {
  /** 128 + n for a signal, as the container runtimes count. */
  code: number
  signal?: NodeJS.Signals
}

// Reads "+ GROUP" and "- GROUP" lines; when its parent is gone, however that came about, its input ends: kill, clean up.
const watchdogScript = `trap '' INT TERM HUP
groups=' '
while read -r op group; do
  case $op in
    +) groups="$groups$group " ;;
    -) groups="\${groups%% $group *} \${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -KILL -"$group" 2>/dev/null; done
[ -z "$1" ] || rm -rf "$1"`

/** The process groups of one sandbox. A watchdog process kills them should this process die without `close`. */
export class Processes {
  readonly #groups = new Map<number, Promise<unknown>>()
  readonly #watchdog: ChildProcess

  /** @param workDir removed by the watchdog, too; empty keeps it */
  constructor(workDir: string) {
    this.#watchdog = spawn('/bin/sh', ['-c', watchdogScript, 'sandbox-watchdog', workDir], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    this.#watchdog.unref()
    this.#watchdog.stdin?.on('error', () => undefined)
    ;(this.#watchdog.stdin as unknown as { unref?(): void } | null)?.unref?.()
  }

  /** Starts argv as the leader of a process group of its own. @throws the spawn error, code ENOENT or EACCES */
  async start(
    argv: readonly string[],
    options: { cwd: string; env: Record<string, string>; stdin: boolean },
  ): Promise<Running> {
    const child = spawn(argv[0]!, argv.slice(1), {
      cwd: options.cwd,
      env: options.env,
      detached: true,
      stdio: [options.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    })
    await new Promise((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    const pid = child.pid!
    const ended = new Promise<Exit>(resolve => {
      // When the first process of a container ends, the runtime kills the others; only then do the pipes close.
      child.once('exit', (code, signal) => {
        killGroup(pid, 'SIGKILL')
        child.once('close', () => {
          this.#groups.delete(pid)
          this.#tell('-', pid)
          resolve(signal ? { code: 128 + signalNumber(signal), signal } : { code: code ?? 0 })
        })
      })
    })
    this.#groups.set(pid, ended)
    this.#tell('+', pid)
    return new Running(child, pid, ended)
  }

  #tell(op: string, pid: number): void {
    this.#watchdog.stdin?.write(`${op} ${pid}\n`)
  }

  /** Process ids of the groups' leaders. */
  get pids(): number[] {
    return [...this.#groups.keys()]
  }

  async close(): Promise<void> {
    for (const pid of this.#groups.keys()) killGroup(pid, 'SIGKILL')
    await Promise.all(this.#groups.values())
    const gone = new Promise(resolve => this.#watchdog.once('exit', resolve))
    this.#watchdog.ref()
    this.#watchdog.stdin?.end()
    if (this.#watchdog.exitCode === null && this.#watchdog.signalCode === null) await gone
  }
}

/** One running process group. */
export class Running {
  readonly #child: ChildProcess
  /** Its number may belong to another process by now. */
  #over = false
  readonly pid: number
  readonly ended: Promise<Exit>

  constructor(child: ChildProcess, pid: number, ended: Promise<Exit>) {
    this.#child = child
    this.pid = pid
    this.ended = ended
    void ended.then(() => {
      this.#over = true
    })
  }
  get stdout(): Readable {
    return this.#child.stdout!
  }
  get stderr(): Readable {
    return this.#child.stderr!
  }
  get stdin() {
    return this.#child.stdin
  }

  /**
   * What SIGTERM does to the first process of a container: the kernel does not deliver it to PID 1 unless that has a
   * handler, so a shell without a trap stays until the grace period is over.
   */
  terminate(): void {
    if (!this.#over && catches(this.pid, 15)) {
      try {
        process.kill(this.pid, 'SIGTERM')
      } catch {
        // It ended in between.
      }
    }
  }

  kill(): void {
    if (!this.#over) killGroup(this.pid, 'SIGKILL')
  }
}

function killGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // The group is empty.
  }
}

const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
}
export const signalNumber = (name: NodeJS.Signals): number => signalNumbers[name] ?? 15

/** Whether the process has a handler for the signal; where the system does not tell, it is taken to have one. */
function catches(pid: number, signal: number): boolean {
  try {
    const mask = /^SigCgt:\s*([0-9a-f]+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return mask === undefined || (BigInt(`0x${mask}`) & (1n << BigInt(signal - 1))) !== 0n
  } catch {
    return true
  }
}
