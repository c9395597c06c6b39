import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { endToEnd } from '../doubles/wire.ts'

/** A server behind the API server. `tls` makes it HTTPS. */
export interface Upstream {
  readonly host: string
  readonly port: number
  readonly tls?: { readonly servername: string; readonly insecure: boolean; readonly ca?: string }
}

const untrusted = [
  ...['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'CERT_SIGNATURE_FAILURE'],
  ...['SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
]

/** How `net/http` words what node reports in its own words. */
function worded({ host, port }: Upstream, { code = '', message }: NodeJS.ErrnoException): string {
  if (code === 'ECONNREFUSED') return `dial tcp ${host}:${port}: connect: connection refused`
  if (untrusted.includes(code))
    return 'tls: failed to verify certificate: x509: certificate signed by unknown authority'
  return message
}

function send(to: Upstream, options: http.RequestOptions): http.ClientRequest {
  const { host, port, tls } = to
  const all = { ...options, host, port, agent: false as const }
  if (!tls) return http.request(all)
  const { servername, insecure, ca } = tls
  return https.request({ ...all, servername, rejectUnauthorized: !insecure, ...(ca ? { ca } : {}) })
}

/**
 * Passes a request on and its answer back as it arrives. The token stays here, as with a real server.
 * @param headers added to those of the request
 * @throws Error whose message begins `error trying to reach service:` when no answer began
 */
export function relay(
  request: IncomingMessage,
  body: string,
  to: Upstream,
  path: string,
  headers: Readonly<Record<string, string | string[]>>,
  response: ServerResponse,
): Promise<void> {
  const own = Object.fromEntries(
    Object.entries(endToEnd(request.headers)).filter(([name]) => !name.startsWith(':') && name !== 'authorization'),
  )
  const host = `${to.host}:${to.port}`
  return new Promise((resolve, reject) => {
    const method = request.method ?? 'GET'
    const up = send(to, { method, path, headers: { ...own, ...headers, host } })
    up.on('response', answer => {
      response.writeHead(answer.statusCode ?? 502, endToEnd(answer.headers))
      response.flushHeaders()
      answer.pipe(response)
      answer.on('error', () => response.destroy()).on('end', resolve)
    })
    up.on('error', (error: NodeJS.ErrnoException) => {
      if (response.headersSent) resolve()
      else reject(new Error(`error trying to reach service: ${worded(to, error)}`))
    })
    response.on('close', () => {
      up.destroy()
      resolve()
    })
    up.end(body)
  })
}

/** One GET on behalf of the API server itself, with certificates unchecked. @throws Error when there is no answer in time */
export function probe(to: Upstream, path: string, user: string, groups: string[], timeoutMs: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const tls = { servername: to.tls?.servername ?? to.host, insecure: true }
    const up = send({ ...to, tls }, { path, headers: { 'x-remote-user': user, 'x-remote-group': groups } })
    up.setTimeout(timeoutMs, () => up.destroy(new Error('context deadline exceeded')))
    up.on('response', answer => {
      answer.resume()
      resolve(answer.statusCode ?? 0)
    })
    up.on('error', error => reject(new Error(worded(to, error))))
    up.end()
  })
}
