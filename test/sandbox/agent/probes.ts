import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import type { ContainerSpec, Probe } from '../controllers/objects.ts'

export interface ProbeTarget {
  readonly container: ContainerSpec
  readonly address: string
  readonly startedAt: number
  /** Runs a command in the container: its exit code and what it wrote. */
  exec(argv: readonly string[], timeoutMs: number): Promise<{ code: number; output: string }>
  onStarted(): void
  onReady(ready: boolean): void
  onFailure(kind: ProbeKind, why: string): void
  /** The container must be killed and restarted. */
  onDead(kind: 'startup' | 'liveness'): void
}
export type ProbeKind = 'startup' | 'readiness' | 'liveness'

/** Runs a container's probes until `signal` is aborted: startup first, then readiness and liveness side by side. */
export function runProbes(target: ProbeTarget, speed: number, signal: AbortSignal): void {
  const { startupProbe, readinessProbe, livenessProbe } = target.container
  const others = () => {
    target.onStarted()
    if (readinessProbe === undefined) target.onReady(true)
    else void loop(target, 'readiness', readinessProbe, speed, signal)
    if (livenessProbe !== undefined) void loop(target, 'liveness', livenessProbe, speed, signal)
  }
  if (startupProbe === undefined) others()
  else void loop(target, 'startup', startupProbe, speed, signal, others)
}

async function loop(
  target: ProbeTarget,
  kind: ProbeKind,
  probe: Probe,
  speed: number,
  signal: AbortSignal,
  passed?: () => void,
) {
  const scaled = (seconds: number) => Math.max(20, (seconds * 1000) / speed)
  await pause(target.startedAt + ((probe.initialDelaySeconds ?? 0) * 1000) / speed - Date.now(), signal)
  for (let good = 0, bad = 0; !signal.aborted; ) {
    const why = await attempt(target, probe, (probe.timeoutSeconds ?? 1) * 1000)
    if (signal.aborted) return
    if (why === undefined) {
      bad = 0
      good++
      if (good >= (probe.successThreshold ?? 1)) {
        if (kind === 'readiness') target.onReady(true)
        if (passed) return passed()
      }
    } else {
      good = 0
      bad++
      target.onFailure(kind, why)
      if (bad >= (probe.failureThreshold ?? 3)) {
        if (kind === 'readiness') target.onReady(false)
        else return target.onDead(kind)
      }
    }
    await pause(scaled(probe.periodSeconds ?? 10), signal)
  }
}

/** Resolves after the time, or at once when aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}

/** One attempt; undefined when it passed, else the kubelet's words for what went wrong. */
async function attempt(target: ProbeTarget, probe: Probe, timeoutMs: number): Promise<string | undefined> {
  const port = (named: number | string): number =>
    typeof named === 'number'
      ? named
      : (target.container.ports?.find(p => p.name === named)?.containerPort ?? Number(named))
  if (probe.httpGet) return get(target.address, port(probe.httpGet.port), probe.httpGet, timeoutMs)
  if (probe.tcpSocket) return dial(probe.tcpSocket.host ?? target.address, port(probe.tcpSocket.port), timeoutMs)
  if (probe.grpc) return dial(target.address, probe.grpc.port, timeoutMs)
  if (probe.exec === undefined) return undefined
  const { code, output } = await target.exec(probe.exec.command, timeoutMs)
  return code === 0 ? undefined : output.trim() || `command exited with ${code}`
}

function get(
  address: string,
  port: number,
  how: NonNullable<Probe['httpGet']>,
  timeoutMs: number,
): Promise<string | undefined> {
  const secure = how.scheme === 'HTTPS'
  const host = how.host ?? address
  const url = `${secure ? 'https' : 'http'}://${host}:${port}${how.path?.startsWith('/') ? '' : '/'}${how.path ?? ''}`
  const headers = Object.fromEntries((how.httpHeaders ?? []).map(h => [h.name, h.value]))
  return new Promise(resolve => {
    const call = (secure ? httpsRequest : httpRequest)(
      url,
      { headers: { 'user-agent': 'kube-probe/1.35', ...headers }, agent: false, rejectUnauthorized: false },
      response => {
        response.resume()
        const code = response.statusCode ?? 0
        resolve(code >= 200 && code < 400 ? undefined : `HTTP probe failed with statuscode: ${code}`)
      },
    )
    call.setTimeout(timeoutMs, () =>
      call.destroy(new Error('context deadline exceeded (Client.Timeout exceeded while awaiting headers)')),
    )
    call.on('error', (error: NodeJS.ErrnoException) =>
      resolve(
        `Get "${url}": ${error.code === 'ECONNREFUSED' ? `dial tcp ${host}:${port}: connect: connection refused` : error.message}`,
      ),
    )
    call.end()
  })
}

function dial(host: string, port: number, timeoutMs: number): Promise<string | undefined> {
  return new Promise(resolve => {
    const socket = connect({ host, port })
    const end = (why?: string) => {
      socket.destroy()
      resolve(why)
    }
    socket.setTimeout(timeoutMs, () => end(`dial tcp ${host}:${port}: i/o timeout`))
    socket.on('connect', () => end())
    socket.on('error', () => end(`dial tcp ${host}:${port}: connect: connection refused`))
  })
}
