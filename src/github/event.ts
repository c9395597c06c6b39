import { readFileSync } from 'node:fs'
import { UserError } from '../errors.ts'

/** Who this step is for GitHub, from the runner's environment and the event that started the workflow. */
export interface GithubContext {
  /** `owner/name` of the repository that the workflow belongs to. */
  readonly repository: string
  readonly owner: string
  readonly repo: string
  readonly runId: number
  /** From 1; grows with every re-run. */
  readonly runAttempt: number
  /** The commit that was checked out: for a pull request a merge commit, see `headSha`. */
  readonly sha: string
  readonly workflow: string
  readonly job: string
  /** `https://github.com` or that of an enterprise server, without a slash at the end. */
  readonly serverUrl: string
  readonly apiUrl: string
  readonly prNumber?: number
  /** The last commit of the pull request's own branch. */
  readonly headSha?: string
  /** The event comes from code of another repository. */
  readonly isFork: boolean
  readonly eventName: string
  readonly actor: string
}

type Env = Readonly<Record<string, string | undefined>>
type Json = Readonly<Record<string, unknown>>

const asObject = (value: unknown): Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}
const asText = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
const asNumber = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : undefined

/**
 * Reads who we are; undefined outside GitHub Actions (no GITHUB_ACTIONS).
 * @throws UserError PREFLIGHT when the event of a pull request cannot be read: then nobody knows whose code this is.
 */
export function githubContext(
  env: Env,
  read: (path: string) => string = path => readFileSync(path, 'utf8'),
): GithubContext | undefined {
  if (env.GITHUB_ACTIONS !== 'true') return undefined
  const eventName = env.GITHUB_EVENT_NAME ?? ''
  let text: string | undefined
  try {
    if (env.GITHUB_EVENT_PATH) text = read(env.GITHUB_EVENT_PATH)
  } catch {
    text = undefined
  }
  return parseContext(env, text, eventName)
}

function parseContext(env: Env, eventText: string | undefined, eventName: string): GithubContext {
  const repository = env.GITHUB_REPOSITORY ?? ''
  const [, owner, repo] = /^([\w.-]+)\/([\w.-]+)$/.exec(repository) ?? []
  const runId = Number(env.GITHUB_RUN_ID)
  if (owner === undefined || repo === undefined || !Number.isSafeInteger(runId) || runId < 1) {
    throw new UserError('PREFLIGHT', 'The environment says GITHUB_ACTIONS=true but does not say which run this is.', {
      why: 'GITHUB_REPOSITORY must be owner/name and GITHUB_RUN_ID a number; a runner sets both.',
      next: 'Outside a workflow unset GITHUB_ACTIONS; inside a container pass the GITHUB_* variables on.',
    })
  }
  const event = parseEvent(eventText)
  if (event === undefined && mayBeForeign(eventName)) {
    throw new UserError('PREFLIGHT', `The event file of this ${eventName} event cannot be read.`, {
      why: 'Without it nobody can tell a pull request of this repository from one of a fork, whose code must not reach the cluster.',
      next: 'Pass GITHUB_EVENT_PATH and the file that it names on to the place where this step runs.',
    })
  }
  return {
    repository,
    owner,
    repo,
    runId,
    runAttempt: Math.max(1, Math.trunc(Number(env.GITHUB_RUN_ATTEMPT)) || 1),
    sha: env.GITHUB_SHA ?? '',
    workflow: env.GITHUB_WORKFLOW ?? '',
    job: env.GITHUB_JOB ?? '',
    serverUrl: (env.GITHUB_SERVER_URL || 'https://github.com').replace(/\/+$/, ''),
    apiUrl: (env.GITHUB_API_URL || 'https://api.github.com').replace(/\/+$/, ''),
    eventName,
    actor: env.GITHUB_ACTOR ?? '',
    ...pullRequestOf(event ?? {}, eventName, repository),
  }
}

function parseEvent(text: string | undefined): Json | undefined {
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined
  } catch {
    return undefined
  }
}

const mayBeForeign = (eventName: string): boolean =>
  eventName.startsWith('pull_request') || eventName === 'workflow_run'

function pullRequestOf(
  event: Json,
  eventName: string,
  repository: string,
): { prNumber?: number; headSha?: string; isFork: boolean } {
  const same = (name: string | undefined): boolean => name?.toLowerCase() === repository.toLowerCase()
  const found = (number: unknown, sha: unknown, isFork: boolean) => {
    const prNumber = asNumber(number)
    const headSha = asText(sha)
    return { ...(prNumber === undefined ? {} : { prNumber }), ...(headSha === undefined ? {} : { headSha }), isFork }
  }
  if (eventName.startsWith('pull_request')) {
    const pull = asObject(event.pull_request)
    const head = asObject(pull.head)
    // The head repository is null once its owner has deleted it: that too is code from elsewhere.
    return found(pull.number ?? event.number, head.sha, !same(asText(asObject(head.repo).full_name)))
  }
  if (eventName === 'workflow_run') {
    const run = asObject(event.workflow_run)
    const pulls = Array.isArray(run.pull_requests) ? run.pull_requests : []
    const number = pulls.length === 1 ? asObject(pulls[0]).number : undefined
    return found(number, run.head_sha, !same(asText(asObject(run.head_repository).full_name)))
  }
  const issue = asObject(event.issue)
  return issue.pull_request === undefined ? { isFork: false } : found(issue.number, undefined, false)
}

/**
 * Stops a step that a fork's pull request started. There is no override: code of a fork must never run next to a
 * kubeconfig. Call it before the kubeconfig is looked at.
 * @throws UserError PREFLIGHT with the ways that are safe.
 */
export function refuseFork(context: GithubContext): void {
  if (!context.isFork) return
  const number = context.prNumber === undefined ? '' : ` #${context.prNumber}`
  throw new UserError(
    'PREFLIGHT',
    `This ${context.eventName} event comes from a fork (pull request${number}); nothing was run.`,
    {
      why: 'Whoever opens a pull request from a fork decides what its code does, and this step holds the credentials of a cluster.',
      next: `After reading the diff, a maintainer pushes exactly that commit${context.headSha ? ` (${context.headSha.slice(0, 40)})` : ''} to a branch of ${context.repository} and opens a pull request from there, or starts the workflow by hand (workflow_dispatch) on that branch.`,
    },
  )
}
