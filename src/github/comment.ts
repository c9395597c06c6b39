import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../log.ts'
import { type Comment, type CommentApi, markerOf, settle } from './comment-settle.ts'
import type { GithubContext } from './event.ts'
import { defaultBudget, isRateLimit, type RetryBudget, requestFailure, withRetry } from './retry.ts'

export type CommentResult =
  | {
      readonly kind: 'created' | 'updated' | 'unchanged'
      readonly id: number
      readonly url: string
      readonly removed: readonly number[]
    }
  | {
      readonly kind: 'skipped'
      /** One sentence; may quote the server. */
      readonly why: string
      /** What to add to the workflow, where a missing permission is the cause. */
      readonly yamlToAdd?: string
    }

export interface CommentRequest {
  readonly token: string
  readonly context: Pick<GithubContext, 'owner' | 'repo' | 'apiUrl' | 'prNumber'>
  readonly key: string
  /** Markdown, at most 65,536 characters, whose first line is the marker of `key`. */
  readonly body: string
  readonly signal: AbortSignal
  readonly log: Log
  /** For one step that writes several times: they share what may be spent on waiting. */
  readonly budget?: RetryBudget
}

/** No single request may hold the step longer than this. */
const requestMs = 30_000
const pageSize = 100
/** 10,000 comments: beyond that somebody is having fun. */
const maxPages = 100
/** Who the token of a workflow run is, where neither API says so. */
const actionsBot = 'github-actions[bot]'
const permissionYaml = 'permissions:\n  pull-requests: write'

type Octokit = ReturnType<typeof import('@actions/github')['getOctokit']>

/**
 * Writes the one comment of `key` on the pull request: creates it, or finds it by marker and author and updates it,
 * or leaves it alone when nothing changed; surplus ones are removed.
 *
 * A comment is no reason to fail a job: whatever GitHub refuses comes back as `skipped`.
 * @throws the signal's reason, and an Error for what is a bug of ours (a body without the marker).
 */
export async function upsertComment(request: CommentRequest): Promise<CommentResult> {
  const { token, context, key, body, signal, log } = request
  const marker = markerOf(key)
  if (body.split('\n', 1)[0] !== marker) throw new Error(`a comment of key ${key} must start with its marker`)
  if (context.prNumber === undefined) return { kind: 'skipped', why: 'The event has no pull request.' }
  const { getOctokit } = await import('@actions/github')
  const octokit = getOctokit(token, { baseUrl: context.apiUrl, log: quiet(log) })
  const issue = { owner: context.owner, repo: context.repo, issue_number: context.prNumber }
  try {
    const calls = caller(request)
    const login = await whoAmI(octokit, context.apiUrl, calls)
    const settled = await settle(commentApi(octokit, issue, calls, request), marker, login, body)
    if (settled.kind === 'unsettled')
      return { kind: 'skipped', why: 'Somebody else removes the comment as fast as it is written.' }
    const { id, url } = settled.comment
    return { kind: settled.kind, id, url, removed: settled.removed }
  } catch (thrown) {
    signal.throwIfAborted()
    return skipped(thrown, context.prNumber)
  }
}

type Call = <T>(what: string, idempotent: boolean, send: (signal: AbortSignal) => Promise<T>) => Promise<T>

function caller({ signal, log, budget = defaultBudget() }: CommentRequest): Call {
  return (what, idempotent, send) =>
    withRetry({ what, idempotent, budget, signal, log }, () =>
      send(AbortSignal.any([signal, AbortSignal.timeout(requestMs)])),
    )
}

/**
 * The login under which this token writes. The token of a workflow run may not read `GET /user`; GraphQL tells its
 * viewer. Where both are refused, the author of what we create corrects the guess.
 */
async function whoAmI(octokit: Octokit, apiUrl: string, call: Call): Promise<string> {
  // An enterprise server has REST under /api/v3 and GraphQL under /api/graphql.
  const graphql = `${apiUrl.replace(/\/api\/v3$/, '/api')}/graphql`
  try {
    const { data } = await call('asking who the token is', true, signal =>
      octokit.request(`POST ${graphql}`, { query: '{ viewer { login } }', request: { signal } }),
    )
    const login: unknown = data?.data?.viewer?.login
    if (typeof login === 'string' && login !== '') return login
  } catch (thrown) {
    if (requestFailure(thrown)?.status === undefined) throw thrown
  }
  try {
    const { data } = await call('asking for the user of the token', true, signal =>
      octokit.rest.users.getAuthenticated({ request: { signal } }),
    )
    return data.login
  } catch (thrown) {
    if (requestFailure(thrown)?.status === undefined) throw thrown
    return actionsBot
  }
}

interface RawComment {
  readonly id: number
  readonly body?: string | null
  readonly html_url: string
  readonly user: { readonly login: string } | null
}

const asComment = (raw: RawComment): Comment => ({
  id: raw.id,
  author: raw.user?.login,
  body: raw.body ?? '',
  url: raw.html_url,
})

function commentApi(
  octokit: Octokit,
  issue: { owner: string; repo: string; issue_number: number },
  call: Call,
  { signal, log }: CommentRequest,
): CommentApi {
  const { owner, repo } = issue
  let unknownCreates = 0
  /** A comment that somebody has deleted in the meantime is an answer, not a failure. */
  const unlessGone = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work()
    } catch (thrown) {
      const status = requestFailure(thrown)?.status
      if (status === 404 || status === 410) return undefined
      throw thrown
    }
  }
  return {
    async list() {
      const found: Comment[] = []
      for (let page = 1; page <= maxPages; page++) {
        const { data, headers } = await call(`listing comments, page ${page}`, true, s =>
          octokit.rest.issues.listComments({ ...issue, per_page: pageSize, page, request: { signal: s } }),
        )
        found.push(...data.map(asComment))
        if (data.length < pageSize && !/rel="next"/.test(headers.link ?? '')) break
      }
      return found
    },
    async create(body) {
      try {
        const { data } = await call('creating the comment', false, s =>
          octokit.rest.issues.createComment({ ...issue, body, request: { signal: s } }),
        )
        return asComment(data)
      } catch (thrown) {
        signal.throwIfAborted()
        const failure = requestFailure(thrown)
        if (failure === undefined || failure.unsent || (failure.status !== undefined && failure.status < 500))
          throw thrown
        // It may have been created all the same: only another look at the list can tell.
        if (++unknownCreates >= 4) throw thrown
        log.info(
          `creating the comment: attempt ${unknownCreates} of 4 failed (${failure.status ?? 'no answer'}: ${failure.message}); looking whether it is there`,
        )
        await sleep(500 * 2 ** (unknownCreates - 1), undefined, { signal }).catch(() => signal.throwIfAborted())
        return 'unknown'
      }
    },
    update: (id, body) =>
      unlessGone(async () => {
        const { data } = await call(`updating comment ${id}`, true, s =>
          octokit.rest.issues.updateComment({ owner, repo, comment_id: id, body, request: { signal: s } }),
        )
        return asComment(data)
      }),
    remove: async id => {
      await unlessGone(() =>
        call(`removing the surplus comment ${id}`, true, s =>
          octokit.rest.issues.deleteComment({ owner, repo, comment_id: id, request: { signal: s } }),
        ),
      )
    },
  }
}

function skipped(thrown: unknown, prNumber: number): CommentResult {
  const failure = requestFailure(thrown)
  if (failure === undefined) throw thrown
  const { status, message } = failure
  if (status === undefined) return { kind: 'skipped', why: `GitHub could not be reached: ${message}` }
  if (isRateLimit(failure)) return { kind: 'skipped', why: `GitHub limits the rate of requests: ${message}` }
  if (status === 403 && /locked/i.test(message))
    return { kind: 'skipped', why: `The conversation of pull request #${prNumber} is locked: ${message}` }
  if (status === 403) {
    return {
      kind: 'skipped',
      why: `The token may not write comments on pull request #${prNumber}: ${message}`,
      yamlToAdd: permissionYaml,
    }
  }
  if (status === 404) {
    return {
      kind: 'skipped',
      why: `Pull request #${prNumber} does not exist, or the token may not see it: ${message}`,
      yamlToAdd: permissionYaml,
    }
  }
  if (status === 401)
    return { kind: 'skipped', why: `GitHub does not accept the token (expired, or not a token at all): ${message}` }
  return { kind: 'skipped', why: `GitHub answered ${status}: ${message}` }
}

/** octokit's own notices (deprecations) go to the debug log instead of the console. */
function quiet(log: Log) {
  const line = (text: string) => log.debug(text)
  return { debug: () => undefined, info: line, warn: line, error: line }
}
