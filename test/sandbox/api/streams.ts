import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Duplex, PassThrough } from 'node:stream'
import type { WebSocket } from 'ws'
import { WebSocketServer } from 'ws'
import type { KubeObject } from '../../../src/stack/kube.ts'
import { ApiStatusError, type PodRuntime } from '../runtime.ts'
import { dict } from './dict.ts'

const protocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io']
/** More than this unsent on one connection, and the process behind it has to wait. */
const highWaterBytes = 1024 * 1024

interface Named {
  name: string
}
interface ContainerStatus extends Named {
  restartCount?: number
  state?: { waiting?: { reason?: string } }
  lastState?: object
}

/** @throws ApiStatusError 400 for a container that the pod does not have, or for none when there are several. */
function containerOf(pod: KubeObject, asked: string | null): string {
  const spec = dict(pod.spec) as { containers?: Named[]; initContainers?: Named[] }
  const main = (spec.containers ?? []).map(c => c.name)
  const all = [...main, ...(spec.initContainers ?? []).map(c => c.name)]
  const { name } = pod.metadata
  if (!asked && main.length > 1) {
    throw new ApiStatusError(
      400,
      `a container name must be specified for pod ${name}, choose one of: [${main.join(' ')}]`,
    )
  }
  const container = asked || main[0] || ''
  if (!all.includes(container)) throw new ApiStatusError(400, `container ${container} is not valid for pod ${name}`)
  return container
}

/** Answers `GET .../pods/NAME/log`. */
export async function serveLog(
  pod: KubeObject,
  query: URLSearchParams,
  runtime: PodRuntime,
  response: ServerResponse,
): Promise<void> {
  const container = containerOf(pod, query.get('container'))
  const flag = (name: string) => query.get(name) === 'true'
  const count = (name: string) => (query.get(name) === null ? {} : { [name]: Number(query.get(name)) })
  const status = dict(pod.status)
  const all = ['containerStatuses', 'initContainerStatuses'].flatMap(f => (status[f] ?? []) as ContainerStatus[])
  const own = all.find(s => s.name === container)
  if (own?.state?.waiting && !own.restartCount && !flag('previous')) {
    const reason = own.state.waiting.reason ?? 'ContainerCreating'
    const text = reason === 'ContainerCreating' ? reason : `trying and failing: ${reason}`
    throw new ApiStatusError(400, `container "${container}" in pod "${pod.metadata.name}" is waiting to start: ${text}`)
  }
  const headers = { 'content-type': 'text/plain' }
  // A pod without a node has no log yet: an empty answer, not an error.
  if (!dict(pod.spec).nodeName) return void response.writeHead(200, headers).end()

  const stop = new AbortController()
  response.on('close', () => stop.abort())
  const options = {
    follow: flag('follow'),
    previous: flag('previous'),
    timestamps: flag('timestamps'),
    signal: stop.signal,
  }
  const counts = { ...count('tailLines'), ...count('sinceSeconds'), ...count('limitBytes') }
  const begin = () => {
    if (response.headersSent) return
    response.writeHead(200, headers)
    response.flushHeaders()
  }
  // The runtime may still refuse; a silent log that is followed must answer before its first line.
  const patience = setTimeout(begin, 50)
  let left = Number(query.get('limitBytes') ?? Number.POSITIVE_INFINITY)
  try {
    for await (const chunk of runtime.logs(pod.metadata.namespace ?? '', pod.metadata.name, container, {
      ...options,
      ...counts,
    })) {
      begin()
      const part = chunk.subarray(0, Math.min(chunk.length, left))
      left -= part.length
      if (!response.write(part)) await new Promise(resume => response.once('drain', resume).once('close', resume))
      if (left <= 0 || stop.signal.aborted) break
    }
    begin()
    response.end()
  } catch (error) {
    if (response.headersSent) response.destroy()
    else throw error
  } finally {
    clearTimeout(patience)
  }
}

/** Exec over WebSocket: channel 0 stdin, 1 stdout, 2 stderr, 3 status; v5 adds 255 to close one channel. */
export class ExecServer {
  readonly #sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: offered => protocols.find(p => offered.has(p)) ?? false,
  })

  /** Breaks every session in the middle. */
  cut(): void {
    for (const socket of this.#sockets.clients) socket.terminate()
  }

  /** Upgrades the connection and runs the command. Throws before the upgrade when there is nothing to run it in. */
  serve(
    pod: KubeObject,
    query: URLSearchParams,
    runtime: PodRuntime,
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
  ): void {
    const container = containerOf(pod, query.get('container'))
    const argv = query.getAll('command')
    if (argv.length === 0) throw new ApiStatusError(400, 'you must specify at least 1 container command')
    const offered = String(request.headers['sec-websocket-protocol'] ?? '').split(/\s*,\s*/)
    if (!protocols.some(p => offered.includes(p)))
      throw new ApiStatusError(400, `unable to upgrade: no protocol of ${protocols}`)
    this.#sockets.handleUpgrade(request, socket, head, ws => {
      void this.#run(ws, query, io =>
        runtime.exec(pod.metadata.namespace ?? '', pod.metadata.name, container, argv, io),
      )
    })
  }

  async #run(
    ws: WebSocket,
    query: URLSearchParams,
    exec: (io: Parameters<PodRuntime['exec']>[4]) => Promise<number>,
  ): Promise<void> {
    const stop = new AbortController()
    const stdin = new PassThrough()
    ws.on('close', () => {
      stop.abort()
      stdin.end()
    })
    ws.on('error', () => ws.terminate())
    ws.on('message', (data: Buffer) => {
      if (data[0] === 255 && data[1] === 0) stdin.end()
      if (data[0] !== 0 || stdin.writableEnded) return
      if (stdin.write(data.subarray(1))) return
      ws.pause()
      stdin.once('drain', () => ws.resume())
    })
    const write = (channel: number) => (chunk: Uint8Array) => {
      if (ws.readyState !== ws.OPEN) return undefined
      const frame = Buffer.concat([Buffer.of(channel), chunk])
      if (ws.bufferedAmount < highWaterBytes) {
        ws.send(frame)
        return undefined
      }
      return new Promise<void>(resolve => ws.send(frame, () => resolve()))
    }
    const wants = (name: string) => query.get(name) === 'true' || query.get(name) === '1'
    const nowhere = () => undefined
    let status: object = { metadata: {}, status: 'Success' }
    try {
      const code = await exec({
        ...(wants('stdin') ? { stdin } : {}),
        stdout: wants('stdout') ? write(1) : nowhere,
        stderr: wants('stderr') ? write(2) : nowhere,
        tty: wants('tty'),
        signal: stop.signal,
      })
      const causes = [{ reason: 'ExitCode', message: String(code) }]
      const message = `command terminated with non-zero exit code: exit status ${code}`
      if (code !== 0)
        status = { metadata: {}, status: 'Failure', message, reason: 'NonZeroExitCode', details: { causes } }
    } catch (error) {
      status = (error instanceof ApiStatusError ? error : new ApiStatusError(500, (error as Error).message)).toStatus()
    }
    if (ws.readyState !== ws.OPEN) return
    write(3)(Buffer.from(JSON.stringify(status)))
    ws.close(1000)
  }
}
