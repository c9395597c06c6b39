import http from 'node:http'

const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
const agent = new http.Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })

/** The address a program of a pod listens on: the pod's own, since all pods share one machine; else the one it was told. */
export const bindAddress = (told: string): string => process.env.SANDBOX_POD_IP ?? told

/** The HTTP proxy of the environment, which is what resolves cluster names; undefined for a direct connection. */
export function proxyUrl(): URL | undefined {
  const value = process.env.http_proxy || process.env.HTTP_PROXY
  return value ? new URL(value) : undefined
}

/** Request options for a URL, in absolute form to the proxy where there is one. Only `http:`: nothing leaves the machine. */
export function route(url: URL): http.RequestOptions {
  if (url.protocol !== 'http:') throw new Error(`only http is supported here, not ${url.protocol}//${url.host}`)
  const proxy = proxyUrl()
  return {
    agent,
    host: (proxy ?? url).hostname.replace(/^\[|\]$/g, ''),
    port: Number((proxy ?? url).port || 80),
    path: proxy ? url.href : url.pathname + url.search,
    headers: { host: url.host },
  }
}

/** Headers without those that belong to one connection only. */
export function endToEnd(headers: http.IncomingHttpHeaders): http.OutgoingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !hopByHop.has(name)))
}

/** Passes a request on to `host:port` and its answer back as it arrives; `failed` answers when there is none. */
export function forward(
  request: http.IncomingMessage,
  response: http.ServerResponse,
  target: { host: string; port: number; path: string },
  failed: (error: Error) => void,
): void {
  const up = http.request({ agent, ...target, method: request.method!, headers: endToEnd(request.headers) }, answer => {
    response.writeHead(answer.statusCode!, endToEnd(answer.headers))
    response.flushHeaders()
    answer.pipe(response)
    answer.on('error', () => response.destroy())
    answer.on('aborted', () => response.destroy())
  })
  up.setNoDelay(true)
  up.on('error', error => (response.headersSent ? response.destroy() : failed(error)))
  response.on('close', () => up.destroy())
  request.on('error', () => up.destroy())
  request.pipe(up)
}

/** One GET with a deadline, read to its end. */
export function fetchText(options: http.RequestOptions, timeoutMs: number): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const request = http.get({ agent, ...options }, answer => {
      let body = ''
      answer.setEncoding('utf8')
      answer.on('data', (part: string) => {
        body += part
      })
      answer.on('end', () => resolve({ status: answer.statusCode!, body }))
      answer.on('error', reject)
    })
    request.setTimeout(timeoutMs, () => request.destroy(new Error(`no answer within ${timeoutMs} ms`)))
    request.on('error', reject)
  })
}

/** `--name value` and `--name=value` pairs of an argument list; a flag without a value is `true`. */
export function flagsOf(argv: readonly string[]): Map<string, string> {
  const found = new Map<string, string>()
  for (let i = 0; i < argv.length; i++) {
    const match = /^--([^=]+)(?:=(.*))?$/s.exec(argv[i]!)
    if (!match) continue
    const next = argv[i + 1]
    if (match[2] !== undefined) found.set(match[1]!, match[2])
    else if (next !== undefined && !next.startsWith('--')) found.set(match[1]!, argv[++i]!)
    else found.set(match[1]!, 'true')
  }
  return found
}

/** When asked to end: refuses new connections, lets open requests finish, then exits with 0. */
export function drainOnTerminate(server: http.Server, asked: () => void = () => undefined): void {
  let ending = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (ending) return
      ending = true
      asked()
      server.close(() => process.exit(0))
      // A kept-alive connection becomes idle only when its last answer is through.
      setInterval(() => server.closeIdleConnections(), 20)
    })
  }
}
