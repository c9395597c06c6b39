import type { ExecIo } from '../runtime.ts'
import type { NodeServices } from './node.ts'
import type { Running } from './process.ts'

/** A container that runs, and what a command needs to join it. */
export interface Live {
  running: Running
  root: string
  env: Record<string, string>
  /** Turns paths of the container into paths of this machine. */
  rewrite: (text: string) => string
  /** Commands that run in it; they end with it. */
  joined: Set<Running>
}

/** Runs a command in a container's folder with its environment: its exit code, 127 when there is no such program. */
export async function join(live: Live, node: NodeServices, argv: readonly string[], io: ExecIo): Promise<number> {
  let joined: Running
  try {
    const options = { cwd: live.root, env: live.env, stdin: io.stdin !== undefined }
    joined = await node.processes.start(node.locate(argv.map(live.rewrite)), options)
  } catch {
    const why = `exec failed: unable to start container process: exec: "${argv[0]}": executable file not found in $PATH: unknown`
    await io.stderr(Buffer.from(`OCI runtime exec failed: ${why}\n`))
    return 127
  }
  live.joined.add(joined)
  const kill = () => joined.kill()
  io.signal.addEventListener('abort', kill, { once: true })
  if (io.signal.aborted) kill()
  feed(joined, io).catch(() => joined.stdin?.end())
  const pump = async (stream: AsyncIterable<Buffer>, out: ExecIo['stdout']) => {
    for await (const chunk of stream) await out(chunk)
  }
  await Promise.all([pump(joined.stdout, io.stdout), pump(joined.stderr, io.tty ? io.stdout : io.stderr)])
  const { code } = await joined.ended
  io.signal.removeEventListener('abort', kill)
  live.joined.delete(joined)
  return code
}

async function feed({ stdin }: Running, io: ExecIo): Promise<void> {
  if (io.stdin === undefined || stdin === null) return
  stdin.on('error', () => undefined)
  for await (const chunk of io.stdin) {
    if (!stdin.write(chunk)) await new Promise(resolve => stdin.once('drain', resolve).once('close', resolve))
  }
  stdin.end()
}
