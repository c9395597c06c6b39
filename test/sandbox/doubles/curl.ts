import { readFileSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { route } from './wire.ts'

/** The part of curl that scripts in the pods use: one URL, over HTTP, through the proxy of the environment. */
const withValue = new Set([
  '-m',
  '--max-time',
  '--connect-timeout',
  '-o',
  '--output',
  '-w',
  '--write-out',
  '-H',
  '--header',
  '-d',
  '--data',
  '--data-raw',
  '-X',
  '--request',
])
const switches = new Set([
  '-s',
  '--silent',
  '-S',
  '--show-error',
  '-f',
  '--fail',
  '-L',
  '--location',
  '-k',
  '--insecure',
  '--no-progress-meter',
  '-i',
])
const given = new Map<string, string[]>()
let url: string | undefined

function fail(code: number, message: string): never {
  const quiet = (given.has('-s') || given.has('--silent')) && !given.has('-S') && !given.has('--show-error')
  if (!quiet) console.error(`curl: (${code}) ${message}`)
  process.exit(code)
}

const argv = process.argv.slice(2)
for (let i = 0; i < argv.length; i++) {
  const word = argv[i]!
  if (!word.startsWith('-') || word === '-') url = word
  else if (word.startsWith('--') || word.length === 2) {
    if (!withValue.has(word) && !switches.has(word)) fail(2, `option ${word}: is unknown`)
    given.set(word, [...(given.get(word) ?? []), withValue.has(word) ? (argv[++i] ?? '') : ''])
  } else argv.splice(i + 1, 0, ...bundle(word))
}

/** `-sSm5` is `-s -S -m 5`. */
function bundle(word: string): string[] {
  const parts: string[] = []
  for (let i = 1; i < word.length; i++) {
    parts.push(`-${word[i]}`)
    if (withValue.has(`-${word[i]}`)) return i + 1 < word.length ? [...parts, word.slice(i + 1)] : parts
  }
  return parts
}
const last = (...names: string[]): string | undefined => names.flatMap(name => given.get(name) ?? []).at(-1)

if (url === undefined) fail(2, 'no URL specified')
const target = new URL(/^\w+:\/\//.test(url) ? url : `http://${url}`)
const data = ['-d', '--data', '--data-raw'].flatMap(name =>
  (given.get(name) ?? []).map(v => (v[0] === '@' && name !== '--data-raw' ? readFileSync(v.slice(1), 'utf8') : v)),
)
const body = data.length > 0 ? data.join('&') : undefined
const headers: Record<string, string> = { 'user-agent': 'curl/8.5.0', accept: '*/*' }
if (body !== undefined) headers['content-type'] = 'application/x-www-form-urlencoded'
for (const line of [...(given.get('-H') ?? []), ...(given.get('--header') ?? [])]) {
  const [name, value] = line.split(/:\s*(.*)/s) as [string, string]
  headers[name.toLowerCase()] = value
}

function report(status: number, bytes: Buffer): void {
  const output = last('-o', '--output')
  if (output === undefined || output === '-') process.stdout.write(bytes)
  else writeFileSync(output, bytes)
  const format = last('-w', '--write-out') ?? ''
  const known: Record<string, string> = {
    http_code: String(status).padStart(3, '0'),
    size_download: String(bytes.length),
    method: method,
  }
  process.stdout.write(
    format
      .replaceAll('\\n', '\n')
      .replaceAll('\\t', '\t')
      .replace(/%\{(\w+)\}/g, (_whole, name: string) => known[name] ?? ''),
  )
}

const method = last('-X', '--request') ?? (body === undefined ? 'GET' : 'POST')
const seconds = Number(last('-m', '--max-time') ?? 0)
const stop = (code: number, message: string) => {
  report(0, Buffer.alloc(0))
  fail(code, message)
}
let options: http.RequestOptions
try {
  options = route(target)
} catch (error) {
  fail(7, (error as Error).message)
}
const request = http.request(
  { ...options, agent: false, method, headers: { ...options.headers, ...headers } },
  answer => {
    const parts: Buffer[] = []
    answer.on('data', (part: Buffer) => parts.push(part))
    answer.on('error', error => stop(18, error.message))
    answer.on('end', () => {
      const status = answer.statusCode!
      const failed = status >= 400 && (given.has('-f') || given.has('--fail'))
      report(status, failed ? Buffer.alloc(0) : Buffer.concat(parts))
      if (failed) fail(22, `The requested URL returned error: ${status}`)
      process.exitCode = 0
    })
  },
)
request.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'ENOTFOUND') stop(6, `Could not resolve host: ${target.hostname}`)
  stop(7, `Failed to connect to ${target.host}: ${error.message}`)
})
if (seconds > 0)
  setTimeout(() => stop(28, `Operation timed out after ${seconds * 1000} milliseconds`), seconds * 1000).unref()
request.end(body)
