import type { RequestOptions as HttpsOptions } from 'node:https'
import WebSocket from 'ws'
import type { Api } from './api.ts'
import { ApiError, errorFromResponse } from './api-error.ts'
import { objectPath } from './resources.ts'

export interface ExecResult {
  readonly exitCode: number
  /** What the command wrote to stderr, at most 64 KiB of it. */
  readonly stderr: string
}

/** A silent connection is pinged this often, so that a load balancer in between does not cut it. */
const pingMs = 15_000
const stderrLimit = 64 * 1024

/**
 * Runs a command in a container and streams its stdout. Settles exactly once: on the status frame, on a refused upgrade,
 * on a connection that ends before the status (the stock client hangs there), or on abort.
 * @throws ApiError with the HTTP status of a refused upgrade, or status 0 and code ECONNRESET for a lost connection.
 */
export async function exec(
  api: Api,
  target: { namespace: string; pod: string; container: string },
  argv: readonly string[],
  options: { signal: AbortSignal; onStdout?: (chunk: Buffer) => void; timeoutMs?: number },
): Promise<ExecResult> {
  const path = `${objectPath('Pod', target.namespace, target.pod)}/exec`
  const query = new URLSearchParams({
    container: target.container,
    stdout: 'true',
    stderr: 'true',
    stdin: 'false',
    tty: 'false',
  })
  for (const arg of argv) query.append('command', arg)
  const tls: HttpsOptions = {}
  await api.config.applyToHTTPSOptions(tls)
  options.signal.throwIfAborted()
  const url = `${api.server.replace(/^http/, 'ws').replace(/\/+$/, '')}${path}?${query}`
  const socket = new WebSocket(url, ['v5.channel.k8s.io', 'v4.channel.k8s.io'], {
    ...(tls as WebSocket.ClientOptions),
    // Results are copied over a fast link; compressing them costs more than it saves.
    perMessageDeflate: false,
  })

  return new Promise<ExecResult>((resolve, reject) => {
    let stderr = ''
    const ping = setInterval(() => socket.readyState === WebSocket.OPEN && socket.ping(), pingMs)
    const timeout =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(
            () =>
              fail(
                new ApiError(`exec in ${target.pod}: no end after ${options.timeoutMs} ms`, {
                  status: 0,
                  code: 'ETIMEDOUT',
                }),
              ),
            options.timeoutMs,
          )
    const settle = (finish: () => void) => {
      clearInterval(ping)
      clearTimeout(timeout)
      options.signal.removeEventListener('abort', onAbort)
      finish()
      // terminate, not close: the answer is complete or lost, and a closing handshake could wait for a dead peer.
      socket.terminate()
    }
    const fail = (error: unknown) => settle(() => reject(error))
    const onAbort = () => fail(options.signal.reason)
    options.signal.addEventListener('abort', onAbort, { once: true })

    socket.on('unexpected-response', (_request, response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => {
        body += text
      })
      response.on('end', () =>
        fail(
          errorFromResponse('GET', path, response.statusCode ?? 0, body, response.headers as Record<string, string>),
        ),
      )
    })
    socket.on('error', (cause: Error & { code?: string }) =>
      fail(
        new ApiError(`exec in ${target.pod}: ${cause.message}`, { status: 0, code: cause.code ?? 'ECONNRESET', cause }),
      ),
    )
    socket.on('close', code =>
      fail(
        new ApiError(`exec in ${target.pod}: the connection ended before the command (close code ${code})`, {
          status: 0,
          code: 'ECONNRESET',
        }),
      ),
    )
    socket.on('message', (data: Buffer, isBinary) => {
      const channel = isBinary ? data[0] : undefined
      const payload = data.subarray(1)
      if (channel === 1) options.onStdout?.(payload)
      else if (channel === 2 && stderr.length < stderrLimit) stderr += payload.toString('utf8')
      else if (channel === 3) {
        try {
          const exitCode = exitCodeOf(payload.toString('utf8'))
          settle(() => resolve({ exitCode, stderr }))
        } catch (error) {
          fail(error)
        }
      }
    })
  })
}

/** Reads the exit code out of the status frame (channel 3). */
function exitCodeOf(frame: string): number {
  const status = JSON.parse(frame) as {
    status?: string
    message?: string
    reason?: string
    details?: { causes?: { reason?: string; message?: string }[] }
  }
  if (status.status === 'Success') return 0
  const code = status.details?.causes?.find(c => c.reason === 'ExitCode')?.message
  if (code !== undefined && /^\d+$/.test(code)) return Number(code)
  throw new ApiError(`exec failed: ${(status.message ?? frame).slice(0, 300)}`, {
    status: 500,
    ...(status.reason ? { reason: status.reason } : {}),
  })
}
