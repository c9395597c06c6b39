import { afterEach, expect, test } from '@jest/globals'
import { type CommentRequest, type CommentResult, upsertComment } from '../../../src/github/comment.ts'
import { githubContext } from '../../../src/github/event.ts'
import { type GithubDouble, type GithubOptions, startGithub } from '../../sandbox/github/server.ts'
import { recordingLog } from './recording-log.ts'

const marker = '<!-- llm-d-bench key="k" v1 -->'
const bot = 'github-actions[bot]'
const open: GithubDouble[] = []

afterEach(async () => {
  await Promise.all(open.splice(0).map(g => g.close()))
})

async function start(options: GithubOptions = { pr: 7 }) {
  const github = await startGithub({ pr: 7, ...options })
  open.push(github)
  const context = githubContext(github.env)!
  const log = recordingLog()
  /** Short pauses, so that a test of a retry takes no seconds. */
  const budget = { attempts: 5, waitMs: 5000, firstPauseMs: 5 }
  const write = (text: string, more: Partial<CommentRequest> = {}): Promise<CommentResult> =>
    upsertComment({
      token: github.token,
      context,
      key: 'k',
      body: `${marker}\n${text}`,
      signal: AbortSignal.timeout(20_000),
      log,
      budget,
      ...more,
    })
  const sent = (method: string) => github.requests().filter(r => r.method === method && r.path.startsWith('/repos/'))
  return { github, context, log, write, sent }
}
const many = (count: number) => Array.from({ length: count }, (_, i) => ({ author: `user-${i}`, body: `comment ${i}` }))

test('a comment is created once, left alone when nothing changed, and updated when something did', async () => {
  const { github, write, sent } = await start()
  const first = await write('one')
  expect(first).toMatchObject({
    kind: 'created',
    url: expect.stringMatching(/^https:\/\/github\.com\/llm-d\/consumer\/pull\/7#issuecomment-\d+$/),
  })
  expect(await write('one')).toMatchObject({ kind: 'unchanged' })
  expect(sent('PATCH')).toHaveLength(0)
  expect(await write('two')).toMatchObject({ kind: 'updated' })
  expect(sent('POST')).toHaveLength(1)
  expect(github.comments()).toMatchObject([{ author: bot, body: `${marker}\ntwo` }])
})

test('our comment is found again behind 140 others, on the second page', async () => {
  const { github, write, sent } = await start({
    comments: [...many(140), { author: bot, body: `${marker}\r\nold` }, ...many(3)],
  })
  expect(await write('new')).toMatchObject({ kind: 'updated', id: github.comments()[140]!.id })
  expect(github.comments()).toHaveLength(144)
  expect(sent('GET').map(r => r.path)).toEqual([
    '/repos/llm-d/consumer/issues/7/comments?per_page=100&page=1',
    '/repos/llm-d/consumer/issues/7/comments?per_page=100&page=2',
  ])
})

test('a forged marker of another user is neither edited nor removed, although the token could', async () => {
  const forged = [
    { author: 'mallory', body: `${marker}\nforged` },
    { author: 'github-actions', body: `${marker}\nforged` },
    { author: 'other[bot]', body: `${marker}\nforged` },
    { author: bot, body: '<!-- llm-d-bench key="another" v1 -->\nof another key' },
  ]
  const { github, write } = await start({ comments: forged })
  expect(await write('true')).toMatchObject({ kind: 'created' })
  expect(await write('truer')).toMatchObject({ kind: 'updated' })
  expect(github.comments()).toMatchObject([...forged, { author: bot, body: `${marker}\ntruer` }])
})

test('duplicates are folded into the oldest, which is written before any is removed', async () => {
  const ours = (text: string) => ({ author: bot, body: `${marker}\n${text}` })
  const { github, write, sent } = await start({ comments: [...many(2), ours('a'), ours('b'), ours('c')] })
  const [, , a, b, c] = github.comments()
  expect(await write('all')).toMatchObject({ kind: 'updated', id: a!.id, removed: [b!.id, c!.id] })
  expect(github.comments()).toMatchObject([...many(2), { id: a!.id, body: `${marker}\nall` }])
  const writes = [...sent('PATCH'), ...sent('DELETE')].map(r => github.requests().indexOf(r))
  expect(writes).toEqual([...writes].sort((x, y) => x - y))
})

test('two legs that create at the same moment leave one comment', async () => {
  const { github, write } = await start()
  github.faults.push({ method: 'POST', path: /comments$/, times: 2, delayMs: 100 })
  await Promise.all([write('one'), write('two')])
  expect(github.requests().filter(r => r.method === 'POST' && r.status === 201)).toHaveLength(2)
  expect(github.comments()).toHaveLength(1)
})

test('a user token is known by its own login, and its comments are found by it', async () => {
  const { github, write } = await start({
    login: 'release-robot',
    comments: [{ author: bot, body: `${marker}\nnot ours` }],
  })
  github.faults.push({ method: 'POST', path: /^\/graphql/, status: 403, message: 'no GraphQL here' })
  expect(await write('one')).toMatchObject({ kind: 'created' })
  expect(await write('two')).toMatchObject({ kind: 'updated' })
  expect(github.comments().map(c => c.author)).toEqual([bot, 'release-robot'])
})

test('the token of a workflow run is taken for the bot of workflow runs where nothing tells', async () => {
  const { github, write, sent } = await start({ comments: [{ author: bot, body: `${marker}\nold` }] })
  github.faults.push({ method: 'POST', path: /^\/graphql/, status: 403 })
  expect(await write('new')).toMatchObject({ kind: 'updated' })
  expect(sent('POST')).toEqual([])
  expect(github.requests().find(r => r.path === '/user')).toMatchObject({ status: 403 })
})

test('where nothing tells who the token is, the author of what it creates does', async () => {
  const { github, write } = await start({
    login: 'my-app[bot]',
    comments: [{ author: 'my-app[bot]', body: `${marker}\nold` }],
  })
  github.faults.push(
    { method: 'POST', path: /^\/graphql/, status: 403 },
    { method: 'GET', path: /^\/user/, status: 403 },
  )
  expect(await write('new')).toMatchObject({ kind: 'updated' })
  expect(github.comments()).toMatchObject([{ author: 'my-app[bot]', body: `${marker}\nnew` }])
})

test('a missing permission skips the comment and says which lines to add', async () => {
  const { github, write, log } = await start()
  github.faults.push({
    method: 'POST',
    path: /comments$/,
    status: 403,
    message: 'Resource not accessible by integration',
  })
  expect(await write('one')).toEqual({
    kind: 'skipped',
    why: expect.stringContaining('Resource not accessible by integration'),
    yamlToAdd: 'permissions:\n  pull-requests: write',
  })
  expect(log.lines).toEqual([])
})

test.each([
  [{ status: 403, message: 'Unable to create comment because issue is locked.' }, 'is locked'],
  [{ status: 401, message: 'Bad credentials' }, 'does not accept the token'],
  [{ status: 404, message: 'Not Found' }, 'may not see it'],
  [{ status: 422, message: 'Validation Failed' }, 'answered 422'],
])('a create that is refused with %j is skipped with its reason, after one try', async (fault, why) => {
  const { github, write, sent } = await start()
  github.faults.push({ method: 'POST', path: /comments$/, ...fault })
  expect(await write('one')).toMatchObject({ kind: 'skipped', why: expect.stringContaining(why) })
  expect(sent('POST')).toHaveLength(1)
})

test('reads and updates are tried again after a 500 and after a cut connection, and the log counts the attempts', async () => {
  const { github, write, log } = await start({ comments: [{ author: bot, body: `${marker}\nold` }] })
  github.faults.push(
    { method: 'GET', path: /comments/, times: 2, status: 502 },
    { method: 'GET', path: /comments/, times: 1, status: 0 },
    { method: 'PATCH', path: /comments/, times: 1, status: 500, applied: true },
  )
  expect(await write('new')).toMatchObject({ kind: 'updated' })
  expect(log.lines).toEqual([
    expect.stringMatching(/^listing comments, page 1: attempt 1 of 5 failed \(502: .*; again in 0\.0 s$/),
    expect.stringContaining('attempt 2 of 5 failed (502'),
    expect.stringContaining('attempt 3 of 5 failed (no answer'),
    expect.stringMatching(/^updating comment \d+: attempt 1 of 5 failed \(500/),
  ])
  expect(github.comments()).toHaveLength(1)
})

test.each([0, 500])(
  'a create that took effect although its answer was lost (%d) is found, not repeated',
  async status => {
    const { github, write, log } = await start()
    github.faults.push({ method: 'POST', path: /comments$/, times: 1, status, applied: true })
    expect(await write('one')).toMatchObject({ kind: 'created' })
    expect(github.comments()).toHaveLength(1)
    expect(log.lines).toEqual([
      expect.stringMatching(/^creating the comment: attempt 1 of 4 failed .*looking whether it is there$/),
    ])
  },
)

test('a create that failed with 500 and is not in the list is sent again', async () => {
  const { github, write } = await start()
  github.faults.push({ method: 'POST', path: /comments$/, times: 1, status: 500 })
  expect(await write('one')).toMatchObject({ kind: 'created' })
  expect(github.comments()).toHaveLength(1)
})

test('a rate limit is waited out as the server says, also for a create', async () => {
  const { github, write, sent } = await start()
  github.faults.push({
    method: 'POST',
    path: /comments$/,
    times: 1,
    status: 403,
    message: 'You have exceeded a secondary rate limit',
    headers: { 'retry-after': '1' },
  })
  const started = performance.now()
  expect(await write('one')).toMatchObject({ kind: 'created' })
  expect(performance.now() - started).toBeGreaterThan(990)
  expect(sent('POST')).toHaveLength(2)
})

test('a pause that is longer than the budget is not begun', async () => {
  const { github, write, log } = await start()
  github.faults.push({
    method: 'GET',
    path: /comments/,
    status: 429,
    message: 'slow down',
    headers: { 'retry-after': '600' },
  })
  const started = performance.now()
  expect(await write('one')).toMatchObject({ kind: 'skipped', why: expect.stringContaining('limits the rate') })
  expect(performance.now() - started).toBeLessThan(5000)
  expect(log.lines).toEqual([expect.stringContaining('asks for a pause of 600 s')])
})

test('a comment that is deleted between finding and writing is made anew', async () => {
  const { github, write } = await start({ comments: [{ author: bot, body: `${marker}\nold` }] })
  github.faults.push({ method: 'PATCH', path: /comments/, times: 1, status: 404, message: 'Not Found' })
  github.faults.push({ method: 'PATCH', path: /comments/, times: 1, status: 410, message: 'Gone' })
  expect(await write('new')).toMatchObject({ kind: 'updated' })
  expect(github.comments()).toMatchObject([{ body: `${marker}\nnew` }])
})

test('a GitHub that cannot be reached skips the comment', async () => {
  const { github, context, write } = await start()
  await github.close()
  open.length = 0
  expect(await write('one', { context })).toMatchObject({
    kind: 'skipped',
    why: expect.stringContaining('could not be reached'),
  })
})

test('a cancelled step stops at once, in the middle of a pause', async () => {
  const { github, write } = await start()
  github.faults.push({ method: 'GET', path: /comments/, status: 429, headers: { 'retry-after': '60' } })
  const abort = new AbortController()
  const reason = Object.assign(new Error('received SIGINT'), { name: 'CancelledError' })
  setTimeout(() => abort.abort(reason), 100)
  await expect(
    write('one', { signal: abort.signal, budget: { attempts: 5, waitMs: 90_000, firstPauseMs: 5 } }),
  ).rejects.toBe(reason)
})

test('without a pull request nothing is asked, and a body without its marker is a bug', async () => {
  const { github, context, write } = await start()
  const { prNumber: _, ...push } = context
  expect(await write('one', { context: push })).toMatchObject({ kind: 'skipped' })
  await expect(write('one', { body: 'no marker' })).rejects.toThrow('must start with its marker')
  expect(github.requests()).toEqual([])
})
