import { readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Log } from '../log.ts'
import { checkLeg, type LegDocument } from '../results/schema.ts'
import { type ArtifactStore, type ListedArtifact, openArtifacts } from './artifacts.ts'
import { type CommentResult, upsertComment } from './comment.ts'
import type { GithubContext } from './event.ts'
import { fanIn } from './fan-in.ts'
import { artifactName, newest, parseArtifactName } from './naming.ts'
import { defaultBudget } from './retry.ts'

/** Addresses that a comment may point to; equal for every leg of a run, so that equal legs give equal bytes. */
export interface PublishedLinks {
  /** The workflow run. */
  readonly run?: string
  /** Leg to the artifact with its files. */
  readonly results?: Readonly<Record<string, string>>
}

export interface PublishRequest {
  readonly leg: LegDocument
  readonly key: string
  /** Folder that gets `leg.json`. */
  readonly out: string
  readonly log: Log
  readonly signal: AbortSignal
  /** Whether the pull request, if there is one, gets a comment. */
  readonly comment: boolean
  /** Folder whose files become the second artifact. */
  readonly resultsFolder?: string
  /** Absent on the command line: then nothing is published. */
  readonly context?: GithubContext
  readonly token?: string
  /** Pure; its first line is the marker of `key`. */
  readonly render: (legs: readonly LegDocument[], links: PublishedLinks) => string
  readonly env?: Readonly<Record<string, string | undefined>>
}

export interface Published {
  /** The comment as it was posted, or as it would have been. */
  readonly body: string
  /** The artifact with `leg.json`. */
  readonly artifactName?: string
  readonly artifactUrl?: string
  readonly commentUrl?: string
}

/**
 * Uploads what this step has to say and brings the comment up to date with all legs of the run. Each part is best
 * effort: what fails is a warning, and the rest goes on.
 * @returns undefined on the command line.
 */
export async function publishToGithub(request: PublishRequest): Promise<Published | undefined> {
  const { context, key, log, signal, render } = request
  if (context === undefined) return undefined
  const env = request.env ?? process.env
  const own = JSON.parse(JSON.stringify(request.leg)) as LegDocument
  const attempt = bestEffort(log, signal)
  const store = await attempt('opening the artifact service', () =>
    openArtifacts({ env, context, signal, log, ...(request.token === undefined ? {} : { reader: request.token }) }),
  )
  const runUrl = `${context.serverUrl}/${context.repository}/actions/runs/${context.runId}`
  const commenter = makeCommenter(request, context)
  let ownName = artifactName(key, own.leg, own.stage, own.attempt)
  let ownId: number | undefined
  let seen: readonly ListedArtifact[] = []

  const { body } = await fanIn<LegDocument>({
    key,
    upload: async () => {
      if (store === undefined) return
      const done = await attempt('uploading artifacts', () =>
        log.group('Upload artifacts', () => uploadBoth(store, request, own)),
      )
      if (done !== undefined) [ownName, ownId] = [done.name, done.id]
    },
    list: async () => {
      if (store === undefined) return [ownName]
      const listed = await attempt('listing artifacts', () => store.listArtifacts())
      // Without the other legs the comment would lose what they have written into it.
      if (listed === undefined)
        commenter.stop('The artifacts of the other legs cannot be listed now, and without them theirs would be lost.')
      seen = listed ?? seen
      return [...seen.map(a => a.name), ownName]
    },
    fetchLeg: async name => (name === ownName ? own : await fetchLeg(name)),
    render: legs => render(legs, { run: runUrl, ...resultLinks(seen, key, runUrl) }),
    post: commenter.post,
  })

  async function fetchLeg(name: string): Promise<LegDocument | undefined> {
    const artifact = seen.find(a => a.name === name)
    if (artifact === undefined || store === undefined) return undefined
    const document = await attempt(`reading artifact ${name}`, () => store.downloadLeg(artifact))
    if (document === undefined) return undefined
    const leg = trusted(document, name)
    if (typeof leg !== 'string') return leg
    log.warning(`artifact ${name} is left out: ${leg}`)
    return undefined
  }

  const commentUrl = commenter.url()
  return {
    body,
    ...(ownId === undefined ? {} : { artifactName: ownName, artifactUrl: `${runUrl}/artifacts/${ownId}` }),
    ...(commentUrl === undefined ? {} : { commentUrl }),
  }
}

/** Whatever fails is a warning, but for a cancelled step: that stops everything. */
function bestEffort(log: Log, signal: AbortSignal) {
  return async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work()
    } catch (error) {
      signal.throwIfAborted()
      log.warning(
        `${what} failed: ${(error instanceof Error ? error.message : String(error)).replaceAll(/\s+/g, ' ').slice(0, 500)}`,
      )
      return undefined
    }
  }
}

async function uploadBoth(
  store: ArtifactStore,
  request: PublishRequest,
  own: LegDocument,
): Promise<{ name: string; id: number }> {
  const id = { key: request.key, leg: own.leg, attempt: own.attempt }
  // The results first: whoever sees the leg can then link to its files.
  if (request.resultsFolder !== undefined) {
    const rootDirectory = path.resolve(request.resultsFolder)
    const files = await filesBelow(rootDirectory)
    if (files.length > 0) {
      try {
        await store.uploadArtifact({ id: { ...id, stage: 'results' }, files, rootDirectory })
      } catch (error) {
        request.signal.throwIfAborted()
        request.log.warning(
          `uploading the files of the run failed: ${error instanceof Error ? error.message : String(error)}`,
        )
      }
    }
  }
  const rootDirectory = path.resolve(request.out)
  const file = path.join(rootDirectory, 'leg.json')
  await writeFile(file, JSON.stringify(own), { mode: 0o600 })
  return await store.uploadArtifact({ id: { ...id, stage: own.stage }, files: [file], rootDirectory })
}

/** Plain files only: a link in files that came out of a pod could point anywhere on the runner. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter(e => e.isFile())
    .map(e => path.join(e.parentPath, e.name))
    .sort()
}

/** A document that is well-formed and says of itself what its artifact's name says; otherwise why not. */
function trusted(document: unknown, name: string): LegDocument | string {
  const checked = checkLeg(document)
  if ('problems' in checked) return checked.problems.join('; ').slice(0, 500)
  const id = parseArtifactName(name)
  const { key, leg, stage, attempt } = checked.leg
  const agrees = id !== undefined && id.key === key && id.leg === leg && id.stage === stage && id.attempt === attempt
  return agrees ? checked.leg : 'its content belongs to another leg, stage or attempt than its name'
}

function resultLinks(seen: readonly ListedArtifact[], key: string, runUrl: string): Pick<PublishedLinks, 'results'> {
  const names = newest(
    seen.map(a => a.name),
    key,
    ['results'],
  )
  const entries = names.flatMap(name => {
    const id = parseArtifactName(name)
    const artifact = seen.find(a => a.name === name)
    return id === undefined || artifact === undefined ? [] : [[id.leg, `${runUrl}/artifacts/${artifact.id}`] as const]
  })
  return entries.length === 0 ? {} : { results: Object.fromEntries(entries) }
}

function makeCommenter(request: PublishRequest, context: GithubContext) {
  const { key, log, signal, token } = request
  const budget = defaultBudget()
  let last: CommentResult | undefined
  const wanted = request.comment && context.prNumber !== undefined
  const skip = (result: CommentResult & { kind: 'skipped' }): void => {
    if (wanted && last?.kind !== 'skipped') log.warning(skippedText(result))
    last = result
  }
  return {
    stop: (why: string): void => skip({ kind: 'skipped', why }),
    post: async (body: string): Promise<void> => {
      // A refusal does not get better by asking again in the same step.
      if (!wanted || last?.kind === 'skipped') return
      if (token === undefined) return skip({ kind: 'skipped', why: 'There is no token (input github-token).' })
      const result = await upsertComment({ token, context, key, body, signal, log, budget })
      if (result.kind === 'skipped') return skip(result)
      last = result
      log.info(`comment ${last.kind}: ${last.url}`)
    },
    url: (): string | undefined => (last === undefined || last.kind === 'skipped' ? undefined : last.url),
  }
}

const skippedText = ({ why, yamlToAdd }: CommentResult & { kind: 'skipped' }): string =>
  `No comment was written. ${why.replace(/\.?$/, '.')} The figures are in the job summary.${yamlToAdd === undefined ? '' : ` Add to the workflow:\n${yamlToAdd}`}`
