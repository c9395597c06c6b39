import { createWriteStream, existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fetchText, flagsOf, route } from './wire.ts'

/** `hf download` and `hf auth login`, against the hub of HF_ENDPOINT. */
const argv = process.argv.slice(2)
const flags = flagsOf(argv)
const hub = (process.env.HF_ENDPOINT ?? 'http://huggingface.co').replace(/\/+$/, '')
const tokenFile = join(process.env.HF_HOME ?? join(process.env.HOME ?? '/tmp', '.cache/huggingface'), 'token')

function fail(message: string): never {
  console.error(message)
  process.exit(1)
}

function request(path: string, token: string | undefined): http.RequestOptions {
  try {
    const options = route(new URL(hub + path))
    return { ...options, headers: { ...options.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) } }
  } catch (error) {
    fail(`Cannot reach the model hub ${hub}: ${(error as Error).message}`)
  }
}

/** The hub's own words for a refusal. */
function explain(status: number, model: string): never {
  const page = `${hub}/${model}`
  if (status === 401)
    fail(
      `401 Client Error. Repository Not Found or gated for url: ${page}.\nAccess to model ${model} is restricted. You must have access to it and be authenticated to access it. Please log in.`,
    )
  if (status === 403)
    fail(
      `403 Client Error. Cannot access gated repo for url ${page}.\nAccess to model ${model} is restricted and you are not in the authorized list. Visit ${page} to ask for access.`,
    )
  if (status === 404) fail(`404 Client Error. Repository Not Found for url: ${page}.`)
  fail(`HfHubHTTPError: ${status} for url: ${page}`)
}

async function login(): Promise<void> {
  const token = flags.get('token')
  if (!token || token === 'true') fail('hf auth login: a token is required')
  const { status } = await fetchText(request('/api/whoami-v2', token), 15_000)
  if (status !== 200) fail('ValueError: Invalid user token. The token from --token is not valid.')
  mkdirSync(dirname(tokenFile), { recursive: true })
  writeFileSync(tokenFile, token, { mode: 0o600 })
  console.log('Login successful.')
}

/** `*` stands for anything, also over folders, as in Python's fnmatch. */
const glob = (pattern: string) =>
  new RegExp(
    `^${pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.')}$`,
  )

async function download(model: string): Promise<void> {
  const token = process.env.HF_TOKEN || (existsSync(tokenFile) ? readFileSync(tokenFile, 'utf8').trim() : undefined)
  const revision = flags.get('revision') ?? 'main'
  const excluded = argv.flatMap((word, i) => (word === '--exclude' ? [glob(argv[i + 1] ?? '')] : []))
  const folder = flags.get('local-dir') ?? fail('hf download: this double needs --local-dir')
  const { status, body } = await fetchText(
    request(`/api/models/${model}/revision/${encodeURIComponent(revision)}?blobs=true`, token),
    15_000,
  )
  if (status !== 200) explain(status, model)
  const { siblings } = JSON.parse(body) as { siblings: { rfilename: string; size: number }[] }
  for (const { rfilename, size } of siblings) {
    if (excluded.some(pattern => pattern.test(rfilename))) continue
    const path = join(folder, rfilename)
    if (existsSync(path) && statSync(path).size === size) continue
    mkdirSync(dirname(path), { recursive: true })
    const refused = await save(request(`/${model}/resolve/${encodeURIComponent(revision)}/${rfilename}`, token), path)
    if (refused !== undefined) explain(refused, model)
    console.log(`Downloaded ${rfilename} (${size} bytes)`)
  }
  console.log(folder)
}

/** Streams a file into place; answers the status when it is not 200. */
function save(options: http.RequestOptions, path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    http
      .get(options, async answer => {
        try {
          if (answer.statusCode !== 200) {
            answer.resume()
            return resolve(answer.statusCode!)
          }
          await pipeline(answer, createWriteStream(`${path}.incomplete`))
          renameSync(`${path}.incomplete`, path)
          resolve(undefined)
        } catch (error) {
          reject(error)
        }
      })
      .on('error', reject)
  })
}

try {
  if (argv[0] === 'auth' && argv[1] === 'login') await login()
  else if (argv[0] === 'download' && argv[1] !== undefined && !argv[1].startsWith('-')) await download(argv[1])
  else if (argv[0] === 'version') console.log('1.1.0')
  else {
    console.error(
      `usage: hf download REPO_ID --local-dir DIR [--revision R] [--exclude P] | hf auth login --token T\nhf: error: unrecognized arguments: ${argv.join(' ')}`,
    )
    process.exit(2)
  }
} catch (error) {
  fail(`ConnectionError: ${(error as Error).message}`)
}
process.exit(0)
