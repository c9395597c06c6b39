import { expect, test } from '@jest/globals'
import { UserError } from '../../../src/errors.ts'
import { type GithubContext, githubContext, refuseFork } from '../../../src/github/event.ts'
import { startGithub } from '../../sandbox/github/server.ts'

const env = {
  GITHUB_ACTIONS: 'true',
  GITHUB_REPOSITORY: 'llm-d/consumer',
  GITHUB_RUN_ID: '4242',
  GITHUB_RUN_ATTEMPT: '2',
  GITHUB_EVENT_PATH: '/event.json',
}
const contextOf = (eventName: string, event: unknown, more: Record<string, string> = {}): GithubContext => {
  const context = githubContext({ ...env, GITHUB_EVENT_NAME: eventName, ...more }, () => JSON.stringify(event))
  if (context === undefined) throw new Error('no context')
  return context
}
const pull = (head: unknown) => ({
  number: 7,
  pull_request: { number: 7, head: { sha: 'abc', repo: head }, base: { repo: { full_name: 'llm-d/consumer' } } },
})
const failureOf = (work: () => unknown) => {
  try {
    work()
  } catch (error) {
    if (error instanceof UserError) return error.failure
    throw error
  }
  throw new Error('nothing was thrown')
}

test('on the command line there is no GitHub context', () => {
  expect(githubContext({ GITHUB_REPOSITORY: 'llm-d/consumer' })).toBeUndefined()
})

test('a pull request of the repository itself is read from the event file that a runner writes', async () => {
  const github = await startGithub({ pr: 7 })
  try {
    const context = githubContext(github.env)
    expect(context).toEqual({
      repository: 'llm-d/consumer',
      owner: 'llm-d',
      repo: 'consumer',
      runId: 4242,
      runAttempt: 1,
      sha: '8d1cb6e0a1b2c3d4e5f60718293a4b5c6d7e8f90',
      workflow: 'benchmark',
      job: 'bench',
      serverUrl: 'https://github.com',
      apiUrl: github.url,
      prNumber: 7,
      headSha: 'a1b2c3d4e5f60718293a4b5c6d7e8f908d1cb6e0',
      isFork: false,
      eventName: 'pull_request',
      actor: 'octocat',
    })
    expect(() => refuseFork(context!)).not.toThrow()
  } finally {
    await github.close()
  }
})

test.each([
  ['pull_request', pull({ full_name: 'stranger/consumer' })],
  ['pull_request', pull(null)],
  ['pull_request', {}],
  ['pull_request_target', pull({ full_name: 'stranger/consumer' })],
  ['pull_request_review', pull({ full_name: 'stranger/consumer' })],
  [
    'workflow_run',
    { workflow_run: { head_sha: 'abc', head_repository: { full_name: 'stranger/consumer' }, pull_requests: [] } },
  ],
])('%s from a fork, or from nobody knows where, is refused (%j)', (eventName, event) => {
  const context = contextOf(eventName, event)
  expect(context.isFork).toBe(true)
  const failure = failureOf(() => refuseFork(context))
  expect(failure.code).toBe('PREFLIGHT')
  expect(failure.what).toContain('fork')
  expect(failure.next).toContain('a branch of llm-d/consumer')
})

test.each([
  ['push', {}, undefined],
  ['schedule', {}, undefined],
  ['workflow_dispatch', { inputs: {} }, undefined],
  ['issue_comment', { issue: { number: 9, pull_request: {} } }, 9],
  ['issue_comment', { issue: { number: 9 } }, undefined],
  [
    'workflow_run',
    { workflow_run: { head_repository: { full_name: 'LLM-D/consumer' }, pull_requests: [{ number: 5 }] } },
    5,
  ],
  ['pull_request_target', pull({ full_name: 'llm-d/consumer' }), 7],
])('%s of this repository is not a fork, whatever its pull request (%j)', (eventName, event, prNumber) => {
  const context = contextOf(eventName, event)
  expect({ isFork: context.isFork, prNumber: context.prNumber }).toEqual({ isFork: false, prNumber })
})

test.each(['pull_request', 'pull_request_target', 'workflow_run'])(
  '%s with an event file that cannot be read stops, because it may be a fork',
  eventName => {
    const unreadable = () => {
      throw new Error('ENOENT')
    }
    for (const read of [unreadable, () => 'not json', () => '[]']) {
      const failure = failureOf(() => githubContext({ ...env, GITHUB_EVENT_NAME: eventName }, read))
      expect(failure).toMatchObject({ code: 'PREFLIGHT', what: expect.stringContaining('cannot be read') })
    }
    expect(githubContext({ ...env, GITHUB_EVENT_NAME: 'push' }, unreadable)).toMatchObject({ isFork: false })
  },
)

test('an environment that claims to be a runner but does not say which run is refused', () => {
  for (const change of [{ GITHUB_RUN_ID: 'x' }, { GITHUB_REPOSITORY: 'no-slash' }, { GITHUB_REPOSITORY: '' }]) {
    expect(failureOf(() => githubContext({ ...env, GITHUB_EVENT_NAME: 'push', ...change }, () => '{}')).code).toBe(
      'PREFLIGHT',
    )
  }
})
