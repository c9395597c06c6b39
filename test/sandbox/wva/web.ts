import http from 'node:http'
import https from 'node:https'
import { generate } from 'selfsigned'
import { proxyUrl, route } from '../doubles/wire.ts'

export interface Page {
  readonly status: number
  readonly body: string
}

const insecure = { keepAlive: true, rejectUnauthorized: false }
const direct = { http: new http.Agent({ keepAlive: true }), https: new https.Agent(insecure) }
const proxy = proxyUrl()
const tunnelled =
  proxy === undefined ? direct.https : new https.Agent({ ...insecure, proxyEnv: { HTTPS_PROXY: proxy.href } })

/** One GET, read to its end. Certificates are not verified: nobody in a test cluster could issue them. */
export function getPage(url: URL, options: { timeoutMs: number; byPodAddress?: boolean }): Promise<Page> {
  const secure = url.protocol === 'https:'
  const to: https.RequestOptions = options.byPodAddress
    ? target(url, direct[secure ? 'https' : 'http'])
    : secure
      ? target(url, tunnelled)
      : route(url)
  return new Promise((resolve, reject) => {
    const request = (secure ? https : http).get({ ...to, signal: AbortSignal.timeout(options.timeoutMs) }, answer => {
      let body = ''
      answer.setEncoding('utf8')
      answer.on('data', (part: string) => {
        body += part
      })
      answer.on('end', () => resolve({ status: answer.statusCode!, body }))
      answer.on('error', reject)
    })
    request.on('error', reject)
  })
}

const target = (url: URL, agent: http.Agent): https.RequestOptions => ({
  agent,
  host: url.hostname.replace(/^\[|\]$/g, ''),
  port: url.port || (url.protocol === 'https:' ? 443 : 80),
  path: url.pathname + url.search,
  headers: { host: url.host },
})

/** A server over TLS with a certificate that it made itself, or a plain one. */
export async function webServer(secure: boolean, handler: http.RequestListener): Promise<http.Server> {
  // Longer than the pauses between two questions of one client, which would else meet a connection that is just closing.
  const options = { keepAliveTimeout: 75_000 }
  if (!secure) return http.createServer(options, handler)
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'localhost' }], {
    ...{ keyType: 'ec', algorithm: 'sha256', notBeforeDate: new Date(Date.now() - 3_600_000) },
  })
  return https.createServer({ ...options, cert, key }, handler)
}

/** The port of a listen address as `:8443`, `0.0.0.0:9090` or `[::]:9090`. */
export function portOf(address: string): number {
  const port = /:(\d+)$/.exec(address)?.[1]
  if (port === undefined) throw new Error(`not a listen address: ${address}`)
  return Number(port)
}

export function answerJson(response: http.ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.end(text)
}
