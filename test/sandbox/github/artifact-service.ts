import { createHash, randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

/** Reads a request to its end. */
export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

export function json(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): ServerResponse {
  return response
    .writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers })
    .end(JSON.stringify(value))
}

export interface StoredArtifact {
  readonly id: number
  readonly name: string
  /** What the runtime token of the uploader says: one value per run attempt here. */
  readonly runBackend: string
  readonly jobBackend: string
  readonly createdAt: string
  readonly sig: string
  readonly blocks: Map<string, Buffer>
  /** The committed archive; undefined until the block list has come. */
  zip: Buffer | undefined
  /** Only a finalized artifact can be listed; the name is taken before. */
  digest: string | undefined
}

/** Payload of a JWT whose signature nobody checks. */
function scopeOf(authorization: string | undefined): { run: string; job: string } | undefined {
  const payload = /^Bearer [^.]+\.([^.]+)\./.exec(authorization ?? '')?.[1]
  if (payload === undefined) return undefined
  const { scp } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { scp?: string }
  const [, run, job] = /Actions\.Results:([^:\s]+):([^:\s]+)/.exec(scp ?? '') ?? []
  return run === undefined || job === undefined ? undefined : { run, job }
}

type Fields = Record<string, string | undefined>

/** The artifact service (Twirp, JSON) and its blob store, as @actions/artifact 6 talks to them. */
export class ArtifactService {
  readonly stored: StoredArtifact[] = []
  #nextId = 1000
  readonly #origin: () => string
  constructor(origin: () => string) {
    this.#origin = origin
  }

  /** Puts an artifact there as if a job had uploaded it. */
  add(name: string, archive: Buffer, runBackend: string): StoredArtifact {
    const artifact = this.#create(name, runBackend, 'other-job')
    artifact.zip = archive
    artifact.digest = `sha256:${createHash('sha256').update(archive).digest('hex')}`
    return artifact
  }

  #create(name: string, runBackend: string, jobBackend: string): StoredArtifact {
    const artifact: StoredArtifact = {
      id: ++this.#nextId,
      name,
      runBackend,
      jobBackend,
      createdAt: new Date().toISOString(),
      // Long and random: the client masks it in the log.
      sig: randomBytes(24).toString('hex'),
      blocks: new Map(),
      zip: undefined,
      digest: undefined,
    }
    this.stored.push(artifact)
    return artifact
  }

  blobUrl(artifact: StoredArtifact): string {
    return `${this.#origin()}/blobs/artifacts/${artifact.id}.zip?sig=${artifact.sig}`
  }

  twirp(method: string, request: IncomingMessage, received: Buffer, response: ServerResponse): ServerResponse {
    const scope = scopeOf(request.headers.authorization)
    const body = JSON.parse(received.toString()) as Record<string, unknown>
    const text = (field: string) => body[field] as string | undefined
    if (scope === undefined) return json(response, 401, { code: 'unauthenticated', msg: 'no runtime token' })
    if (text('workflow_run_backend_id') !== scope.run)
      return json(response, 403, { code: 'permission_denied', msg: 'another run' })
    const mine = this.stored.filter(a => a.runBackend === scope.run)
    const named = mine.find(a => a.name === text('name'))
    const done = mine.filter(a => a.digest !== undefined)
    switch (method) {
      case 'CreateArtifact': {
        if (/["<>|*?\r\n\\/:]/.test(text('name') ?? '"'))
          return json(response, 400, { code: 'invalid_argument', msg: 'bad name' })
        if (named)
          return json(response, 409, {
            code: 'already_exists',
            msg: 'an artifact with this name already exists on the workflow run',
          })
        const created = this.#create(text('name') ?? '', scope.run, scope.job)
        return json(response, 200, { ok: true, signed_upload_url: this.blobUrl(created) })
      }
      case 'FinalizeArtifact': {
        if (named?.zip === undefined) return json(response, 404, { code: 'not_found', msg: 'nothing was uploaded' })
        if (Number(text('size')) !== named.zip.length)
          return json(response, 400, { code: 'invalid_argument', msg: 'size differs' })
        named.digest = text('hash') ?? 'sha256:'
        return json(response, 200, { ok: true, artifact_id: String(named.id) })
      }
      case 'ListArtifacts': {
        const shown = done.filter(
          a => a.name === (text('name_filter') ?? a.name) && String(a.id) === (text('id_filter') ?? String(a.id)),
        )
        return json(response, 200, { artifacts: shown.map(monolith) })
      }
      case 'GetSignedArtifactURL':
        return named?.digest === undefined
          ? json(response, 404, { code: 'not_found', msg: 'no such artifact' })
          : json(response, 200, { signed_url: this.blobUrl(named) })
      case 'DeleteArtifact': {
        if (named?.digest === undefined) return json(response, 404, { code: 'not_found', msg: 'no such artifact' })
        this.stored.splice(this.stored.indexOf(named), 1)
        return json(response, 200, { ok: true, artifact_id: String(named.id) })
      }
      default:
        return json(response, 404, { code: 'bad_route', msg: method })
    }
  }

  blob(url: URL, request: IncomingMessage, body: Buffer, response: ServerResponse): ServerResponse {
    const artifact = this.stored.find(a => url.pathname.endsWith(`/${a.id}.zip`))
    if (artifact === undefined || url.searchParams.get('sig') !== artifact.sig) {
      return response.writeHead(403).end()
    }
    if (request.method === 'GET') {
      if (artifact.zip === undefined) return response.writeHead(404).end()
      const headers = { 'content-type': 'application/zip', 'content-length': artifact.zip.length }
      return response.writeHead(200, headers).end(artifact.zip)
    }
    const query = Object.fromEntries(url.searchParams) as Fields
    if (query.comp === 'block') artifact.blocks.set(query.blockid ?? '', body)
    else if (query.comp === 'blocklist') {
      const order = [...body.toString().matchAll(/<(?:Latest|Committed|Uncommitted)>([^<]+)</g)].map(m => m[1] ?? '')
      artifact.zip = Buffer.concat(order.map(id => artifact.blocks.get(id) ?? Buffer.alloc(0)))
    } else artifact.zip = body
    return response.writeHead(201, { etag: '"1"', 'last-modified': new Date().toUTCString() }).end()
  }
}

const monolith = (a: StoredArtifact) => ({
  workflow_run_backend_id: a.runBackend,
  workflow_job_run_backend_id: a.jobBackend,
  database_id: String(a.id),
  name: a.name,
  size: String(a.zip?.length ?? 0),
  created_at: a.createdAt,
  digest: a.digest,
})
