import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Log } from '../log.ts'
import type { GithubContext } from './event.ts'
import { type ArtifactId, artifactName } from './naming.ts'
import { zipEntry } from './zip-entry.ts'

export interface ListedArtifact {
  readonly name: string
  readonly id: number
  /** Bytes, packed, as the service says. */
  readonly size: number
  /** `sha256:<hex>` of the archive, where the service knows it. */
  readonly digest?: string
  /** Only REST sees it: it belongs to an earlier attempt of this run. */
  readonly earlierAttempt: boolean
}

export interface UploadRequest {
  /** Everything but the count of uploads, which is raised when an earlier one broke off. */
  readonly id: Omit<ArtifactId, 'upload'>
  /** Absolute paths below `rootDirectory`. */
  readonly files: readonly string[]
  readonly rootDirectory: string
  readonly retentionDays?: number
}

export interface Uploaded {
  readonly name: string
  readonly id: number
  /** Bytes of the archive. */
  readonly size: number
}

export interface ArtifactStore {
  /** Idempotent within an attempt: the same name again replaces what is there. */
  uploadArtifact(request: UploadRequest): Promise<Uploaded>
  /** All artifacts of this workflow run, newest first within a name. */
  listArtifacts(): Promise<readonly ListedArtifact[]>
  /**
   * The parsed `leg.json` of an artifact. It is hostile input: check it before use.
   * @throws Error when it is gone, too large, damaged or not JSON.
   */
  downloadLeg(artifact: ListedArtifact): Promise<unknown>
}

/** Unpacked size of a leg.json: 50,000 requests with every column take about 5 MB. */
export const maxLegBytes = 20 * 1024 * 1024
const maxUploads = 9

/**
 * The artifacts of this workflow run through the official client; undefined, and said so in the log, where there is
 * no artifact service (a runner gives its token to actions only, not to `run:` steps).
 *
 * @param reader a token with `actions: read`, with which a re-run also sees what its earlier attempts uploaded.
 */
export async function openArtifacts(of: {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly context: GithubContext
  readonly reader?: string
  readonly signal: AbortSignal
  readonly log: Log
}): Promise<ArtifactStore | undefined> {
  const { env, context, signal, log } = of
  if (!env.ACTIONS_RUNTIME_TOKEN || !env.ACTIONS_RESULTS_URL) {
    log.info(
      'No artifact service here (ACTIONS_RUNTIME_TOKEN is not set): nothing is uploaded, and other legs are not read.',
    )
    return undefined
  }
  // 200 ms to load: a step without artifacts must not pay for it.
  const { ArtifactNotFoundError, DefaultArtifactClient } = await import('@actions/artifact')
  const client = new DefaultArtifactClient()
  const untilAborted = <T>(work: Promise<T>): Promise<T> => raceAbort(signal, work)
  const findBy =
    of.reader === undefined
      ? undefined
      : { token: of.reader, workflowRunId: context.runId, repositoryOwner: context.owner, repositoryName: context.repo }
  let restRefused = false

  const earlier = async (): Promise<ListedArtifact[]> => {
    if (context.runAttempt === 1 || findBy === undefined || restRefused) return []
    try {
      const { artifacts } = await untilAborted(client.listArtifacts({ findBy }))
      return artifacts.map(a => listed(a, true))
    } catch (error) {
      signal.throwIfAborted()
      restRefused = true
      log.warning(
        `The artifacts of earlier attempts cannot be listed (${oneLine(error)}); legs that were not run again are missing. Add to the workflow: permissions: { actions: read }`,
      )
      return []
    }
  }

  return {
    async uploadArtifact({ id, files, rootDirectory, retentionDays }) {
      const options = retentionDays === undefined ? {} : { retentionDays }
      for (let upload = 1; ; upload++) {
        const name = artifactName(id.key, id.leg, id.stage, id.attempt, upload)
        const send = () => untilAborted(client.uploadArtifact(name, [...files], rootDirectory, options))
        try {
          return uploaded(name, await send())
        } catch (error) {
          signal.throwIfAborted()
          if (!isConflict(error)) throw error
        }
        try {
          await untilAborted(client.deleteArtifact(name))
          log.info(`artifact ${name} was there already: it is replaced`)
          return uploaded(name, await send())
        } catch (error) {
          signal.throwIfAborted()
          // An upload that broke off keeps its name taken and can neither be seen nor deleted.
          if (!(error instanceof ArtifactNotFoundError) && !isConflict(error)) throw error
          if (upload === maxUploads) throw error
          log.info(`the name ${name} is taken by an upload that broke off: the next one is used`)
        }
      }
    },
    async listArtifacts() {
      const { artifacts } = await untilAborted(client.listArtifacts())
      const own = artifacts.map(a => listed(a, false)).sort((a, b) => b.id - a.id)
      const names = new Set(own.map(a => a.name))
      return [...own, ...(await earlier()).filter(a => !names.has(a.name)).sort((a, b) => b.id - a.id)]
    },
    async downloadLeg(artifact) {
      if (artifact.size > maxLegBytes)
        throw new Error(`artifact ${artifact.name} has ${artifact.size} bytes, more than a leg may have`)
      const folder = await mkdtemp(path.join(env.RUNNER_TEMP ?? tmpdir(), 'bench-leg-'))
      try {
        const { digestMismatch } = await untilAborted(
          client.downloadArtifact(artifact.id, {
            path: folder,
            skipDecompress: true,
            ...(artifact.digest === undefined ? {} : { expectedHash: artifact.digest }),
            ...(artifact.earlierAttempt && findBy !== undefined ? { findBy } : {}),
          }),
        )
        if (digestMismatch === true)
          throw new Error(`artifact ${artifact.name} does not have the digest that the service names`)
        return legIn(await onlyFile(folder), artifact.name)
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    },
  }
}

const listed = (
  a: { name: string; id: number; size: number; digest?: string },
  earlierAttempt: boolean,
): ListedArtifact => ({
  name: a.name,
  id: a.id,
  size: a.size,
  ...(a.digest ? { digest: a.digest } : {}),
  earlierAttempt,
})

const uploaded = (name: string, r: { id?: number; size?: number }): Uploaded => ({
  name,
  id: r.id ?? 0,
  size: r.size ?? 0,
})

const oneLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replaceAll(/\s+/g, ' ').slice(0, 300)

const isConflict = (error: unknown): boolean => /\(409\)|already exists/i.test(oneLine(error))

async function onlyFile(folder: string): Promise<Buffer> {
  const files = await readdir(folder)
  const [file] = files
  if (file === undefined || files.length !== 1) throw new Error('the download is not one file')
  const location = path.join(folder, file)
  const { size } = await stat(location)
  if (size > maxLegBytes) throw new Error(`the download has ${size} bytes, more than a leg may have`)
  return await readFile(location)
}

function legIn(zip: Buffer, name: string): unknown {
  const entry = zipEntry(zip, 'leg.json', maxLegBytes)
  if (entry === undefined) throw new Error(`artifact ${name} holds no leg.json`)
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(entry))
}

/** The official client knows no AbortSignal: its work is left behind, the step goes on. */
async function raceAbort<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  signal.throwIfAborted()
  let stop = (): void => undefined
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
    work.catch(() => undefined)
  }
}
