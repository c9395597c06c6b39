import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ArtifactService, bodyOf, json, type StoredArtifact } from './artifact-service.ts'
import { unzip } from './zip.ts'

export interface GithubOptions {
  /** Number of the pull request of the event; without one the event is a push. */
  readonly pr?: number
  /** Comments that are there already, oldest first. */
  readonly comments?: readonly { readonly author: string; readonly body: string }[]
  /** The pull request comes from another repository. */
  readonly fork?: boolean
  /** Login of the token; default is the bot of workflow runs, which may not read `GET /user`. */
  readonly login?: string
}

export interface GithubComment {
  id: number
  author: string
  body: string
}

/** Something that goes wrong with requests that match. */
export interface GithubFault {
  readonly method: string
  /** Matched against path and query. */
  readonly path: RegExp
  /** How many requests it hits; for good when absent. */
  times?: number
  /** Answer with this status instead; 0 cuts the connection. */
  readonly status?: number
  readonly message?: string
  readonly headers?: Readonly<Record<string, string>>
  /** The request takes effect, and the answer is lost all the same. */
  readonly applied?: boolean
  readonly delayMs?: number
  /** Called before the request is handled, for races. */
  readonly before?: () => void
}

export interface GithubRequest {
  readonly method: string
  /** Path and query, without signatures. */
  readonly path: string
  readonly status: number
  readonly body: string
}

export interface GithubDouble {
  readonly url: string
  readonly token: string
  /** What a runner gives to a step of the first attempt. */
  readonly env: Record<string, string>
  /** The same for a later attempt of the run. Attempts see each other's artifacts through REST alone. */
  envOf(attempt: number): Record<string, string>
  comments(): GithubComment[]
  artifacts(): Map<string, { zip: Buffer; files: Record<string, Buffer> }>
  /** Puts an artifact there as if another job of that attempt had uploaded it. */
  addArtifact(name: string, archive: Buffer, attempt?: number): StoredArtifact
  requests(): readonly GithubRequest[]
  readonly faults: GithubFault[]
  /** Writes another event file, for GITHUB_EVENT_PATH. */
  writeEvent(options: Pick<GithubOptions, 'fork' | 'pr'>): Promise<string>
  close(): Promise<void>
}

const repository = 'llm-d/consumer'
const runId = 4242
const actionsBot = 'github-actions[bot]'
const denied = 'Resource not accessible by integration'

/** GitHub as far as this action talks to it: comments, who the token is, artifacts. Listens on 127.0.0.1. */
export async function startGithub(options: GithubOptions = {}): Promise<GithubDouble> {
  const token = 'ghs_CANARYgithubtoken0123456789ABCDEFGHIJ'
  const login = options.login ?? actionsBot
  const temp = await mkdtemp(path.join(tmpdir(), 'bench-github-'))
  const faults: GithubFault[] = []
  const requests: GithubRequest[] = []
  let nextId = 5000
  let comments: GithubComment[] = (options.comments ?? []).map(c => ({ id: ++nextId, ...c }))
  let url = ''
  const service = new ArtifactService(() => url)

  const shown = (c: GithubComment) => ({
    id: c.id,
    body: c.body,
    html_url: `https://github.com/${repository}/pull/${options.pr}#issuecomment-${c.id}`,
    user: { login: c.author, type: c.author.endsWith('[bot]') ? 'Bot' : 'User' },
  })
  const restArtifact = (a: StoredArtifact) => ({
    id: a.id,
    name: a.name,
    size_in_bytes: a.zip?.length,
    created_at: a.createdAt,
    digest: a.digest,
    expired: false,
  })

  function rest(request: IncomingMessage, response: ServerResponse, at: URL, received: Buffer): ServerResponse {
    const body = (received.length === 0 ? {} : JSON.parse(received.toString())) as { body?: unknown }
    const route = `${request.method} ${at.pathname}`
    if (request.headers.authorization !== `token ${token}`) return json(response, 401, { message: 'Bad credentials' })
    if (route === 'POST /graphql') return json(response, 200, { data: { viewer: { login } } })
    if (route === 'GET /user')
      return login === actionsBot ? json(response, 403, { message: denied }) : json(response, 200, { login, id: 1 })
    const [, rest] = /^(?:GET|POST|PATCH|DELETE) \/repos\/llm-d\/consumer(\/.*)$/.exec(route) ?? []
    if (rest === `/issues/${options.pr}/comments`) return onComments(request, response, at, body)
    const [, commentId] = /^\/issues\/comments\/(\d+)$/.exec(rest ?? '') ?? []
    if (commentId !== undefined) return onComment(request, response, Number(commentId), body)
    if (rest === `/actions/runs/${runId}/artifacts`) {
      const done = service.stored.filter(a => a.digest !== undefined).sort((a, b) => b.id - a.id)
      return page(response, at, done.map(restArtifact), artifacts => ({ total_count: done.length, artifacts }))
    }
    const [, artifactId] = /^\/actions\/artifacts\/(\d+)\/zip$/.exec(rest ?? '') ?? []
    const artifact = service.stored.find(a => String(a.id) === artifactId)
    if (artifact) return response.writeHead(302, { location: service.blobUrl(artifact) }).end()
    return json(response, 404, { message: 'Not Found' })
  }

  function page<T>(
    response: ServerResponse,
    at: URL,
    all: readonly T[],
    wrap: (items: readonly T[]) => unknown,
  ): ServerResponse {
    const size = Math.min(100, Number(at.searchParams.get('per_page') ?? 30))
    const number = Number(at.searchParams.get('page') ?? 1)
    const next = new URL(at)
    next.searchParams.set('page', String(number + 1))
    const link = number * size < all.length ? { link: `<${next.href}>; rel="next"` } : undefined
    return json(response, 200, wrap(all.slice((number - 1) * size, number * size)), link)
  }

  function onComments(
    request: IncomingMessage,
    response: ServerResponse,
    at: URL,
    body: { body?: unknown },
  ): ServerResponse {
    if (request.method !== 'POST') return page(response, at, comments.map(shown), items => items)
    if (typeof body.body !== 'string' || body.body === '' || body.body.length > 65_536) {
      return json(response, 422, {
        message: 'Validation Failed',
        errors: [{ message: 'body is too long (maximum is 65536 characters)' }],
      })
    }
    const comment = { id: ++nextId, author: login, body: body.body }
    comments.push(comment)
    return json(response, 201, shown(comment))
  }

  function onComment(
    request: IncomingMessage,
    response: ServerResponse,
    id: number,
    body: { body?: unknown },
  ): ServerResponse {
    const comment = comments.find(c => c.id === id)
    if (comment === undefined) return json(response, 404, { message: 'Not Found' })
    // A token with write access may edit anybody's comment: GitHub would not stop us from obeying a forged marker.
    if (request.method === 'PATCH') comment.body = String(body.body)
    if (request.method === 'DELETE') {
      comments = comments.filter(c => c.id !== id)
      return response.writeHead(204).end()
    }
    return json(response, 200, shown(comment))
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = new URL(request.url ?? '/', url)
    const isBlob = at.pathname.startsWith('/blobs/')
    const received = await bodyOf(request)
    response.on('close', () => {
      requests.push({
        method: request.method ?? '',
        path: (request.url ?? '').replace(/sig=[^&]+/, 'sig=***'),
        status: response.statusCode,
        body: isBlob ? '' : received.toString(),
      })
    })
    const fault = faults.find(f => f.method === request.method && f.path.test(request.url ?? '') && (f.times ?? 1) > 0)
    if (fault !== undefined) {
      if (fault.times !== undefined) fault.times--
      fault.before?.()
      if (fault.delayMs !== undefined) await sleep(fault.delayMs)
      if (fault.status !== undefined && fault.applied !== true) {
        fail(response, fault)
        return
      }
    }
    const [, method] = /^\/twirp\/github\.actions\.results\.api\.v1\.ArtifactService\/(\w+)$/.exec(at.pathname) ?? []
    const target = fault?.applied === true ? swallowed(response, fault) : response
    if (method !== undefined) service.twirp(method, request, received, target)
    else if (isBlob) service.blob(at, request, received, target)
    else rest(request, target, at, received)
  }

  const server = createServer((request, response) => {
    handle(request, response).catch(error => {
      if (!response.headersSent) json(response, 500, { message: `the double failed: ${(error as Error).message}` })
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  const eventName = options.pr === undefined ? 'push' : 'pull_request'
  let events = 0
  const writeEvent = async (change: Pick<GithubOptions, 'fork' | 'pr'>): Promise<string> => {
    const file = path.join(temp, `event-${++events}.json`)
    await writeFile(file, JSON.stringify(eventOf({ ...options, ...change })))
    return file
  }
  const eventPath = await writeEvent({})
  const envOf = (attempt: number): Record<string, string> => ({
    GITHUB_ACTIONS: 'true',
    GITHUB_API_URL: url,
    GITHUB_GRAPHQL_URL: `${url}/graphql`,
    GITHUB_SERVER_URL: 'https://github.com',
    GITHUB_REPOSITORY: repository,
    GITHUB_REPOSITORY_OWNER: repository.split('/')[0] ?? '',
    GITHUB_RUN_ID: String(runId),
    GITHUB_RUN_NUMBER: '17',
    GITHUB_RUN_ATTEMPT: String(attempt),
    GITHUB_SHA: '8d1cb6e0a1b2c3d4e5f60718293a4b5c6d7e8f90',
    GITHUB_REF: options.pr === undefined ? 'refs/heads/main' : `refs/pull/${options.pr}/merge`,
    GITHUB_WORKFLOW: 'benchmark',
    GITHUB_JOB: 'bench',
    GITHUB_ACTOR: 'octocat',
    GITHUB_EVENT_NAME: eventName,
    GITHUB_EVENT_PATH: eventPath,
    GITHUB_WORKSPACE: temp,
    ACTIONS_RESULTS_URL: `${url}/`,
    ACTIONS_RUNTIME_TOKEN: runtimeToken(backendOf(attempt)),
  })
  return {
    url,
    token,
    env: envOf(1),
    envOf,
    comments: () => comments.map(c => ({ ...c })),
    artifacts: () => new Map(service.stored.flatMap(shownArtifact)),
    addArtifact: (name, archive, attempt = 1) => service.add(name, archive, backendOf(attempt)),
    requests: () => requests,
    faults,
    writeEvent,
    close: async () => {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
      await rm(temp, { recursive: true, force: true })
    },
  }
}

/** Unpacked only when somebody looks: a hostile one may not be an archive at all. */
function shownArtifact({
  name,
  zip,
  digest,
}: StoredArtifact): [string, { zip: Buffer; files: Record<string, Buffer> }][] {
  if (zip === undefined || digest === undefined) return []
  return [
    [
      name,
      {
        zip,
        get files() {
          return unzip(zip)
        },
      },
    ],
  ]
}

const backendOf = (attempt: number): string => `run-${runId}-a${attempt}`

function runtimeToken(backend: string): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'none' })}.${part({ scp: `Actions.Example Actions.Results:${backend}:job-1` })}.x`
}

function eventOf({ pr, fork }: GithubOptions): unknown {
  if (pr === undefined) return { ref: 'refs/heads/main', repository: { full_name: repository } }
  const head = fork === true ? 'stranger/consumer' : repository
  return {
    action: 'synchronize',
    number: pr,
    repository: { full_name: repository },
    pull_request: {
      number: pr,
      head: { sha: 'a1b2c3d4e5f60718293a4b5c6d7e8f908d1cb6e0', ref: 'feature', repo: { full_name: head } },
      base: { ref: 'main', repo: { full_name: repository } },
    },
  }
}

function fail(response: ServerResponse, { status = 500, message = 'Server Error', headers = {} }: GithubFault): void {
  if (status === 0) response.socket?.destroy()
  else json(response, status, { message, msg: message }, { ...headers })
}

/** Lets a handler do its work and breaks what the client would hear of it. */
function swallowed(response: ServerResponse, fault: GithubFault): ServerResponse {
  return new Proxy(response, {
    get: (target, property) => {
      if (property === 'writeHead') return () => swallowed(response, fault)
      if (property === 'end') {
        return () => {
          if (fault.status === 0) target.socket?.destroy()
          else
            json(target, fault.status ?? 500, {
              message: fault.message ?? 'Server Error',
              msg: fault.message ?? 'Server Error',
            })
        }
      }
      return Reflect.get(target, property, target)
    },
  })
}
