import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, jest, test } from '@jest/globals'
import { githubContext } from '../../../src/github/event.ts'
import { type Published, type PublishRequest, publishToGithub } from '../../../src/github/publish.ts'
import { checkLeg, type LegDocument } from '../../../src/results/schema.ts'
import { type GithubDouble, startGithub } from '../../sandbox/github/server.ts'
import { zip } from '../../sandbox/github/zip.ts'
import { recordingLog } from './recording-log.ts'

let github: GithubDouble
let temp: string
let quiet: { mockRestore(): void }
const before = { ...process.env }
const marker = '<!-- llm-d-bench key="k" v1 -->'

// The artifact client reads the environment of its process and writes what it does to standard output.
beforeAll(async () => {
  quiet = jest.spyOn(process.stdout, 'write').mockReturnValue(true)
  github = await startGithub({ pr: 7 })
  temp = await mkdtemp(path.join(tmpdir(), 'bench-publish-'))
  Object.assign(process.env, github.env, { RUNNER_TEMP: temp })
})

afterAll(async () => {
  quiet.mockRestore()
  await github.close()
  await rm(temp, { recursive: true, force: true })
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name]
  Object.assign(process.env, before)
})

beforeEach(() => {
  github.faults.length = 0
})

const legOf = (change: Partial<LegDocument>): LegDocument => {
  const checked = checkLeg({
    schemaVersion: 1,
    key: 'k',
    leg: 'baseline',
    stage: 'run',
    attempt: 1,
    createdAt: '2026-01-01T00:00:00Z',
    simulated: true,
    status: 'done',
    identity: {
      wellLitPath: 'inference-scheduling',
      model: 'meta-llama/Llama-3.1-8B',
      wva: false,
      replicas: 2,
      gpusPerReplica: 1,
      images: {},
      release: 'llmdbench',
      namespace: 'bench',
      slo: { ttftMs: 1000, tpotMs: 10, attainment: 0.95 },
    },
    run: {},
    timings: {},
    clientLimits: {},
    leftovers: [],
    kept: [],
    repeats: [],
    ...change,
  })
  if ('problems' in checked) throw new Error(checked.problems.join())
  return checked.leg
}

const render: PublishRequest['render'] = (legs, links) =>
  [marker, ...legs.map(l => `${l.leg} ${l.stage} a${l.attempt} ${l.status}`), JSON.stringify(links)].join('\n')

async function publish(
  leg: LegDocument,
  more: Partial<PublishRequest> = {},
): Promise<{ published: Published | undefined; lines: string[] }> {
  const log = recordingLog()
  const published = await publishToGithub({
    leg,
    key: 'k',
    out: await mkdtemp(path.join(temp, 'out-')),
    log,
    signal: AbortSignal.timeout(30_000),
    comment: true,
    context: githubContext(github.env)!,
    token: github.token,
    render,
    env: { ...github.env, RUNNER_TEMP: temp },
    ...more,
  })
  return { published, lines: log.lines }
}
const body = () => github.comments()[0]?.body

test('on the command line nothing is published', async () => {
  expect((await publish(legOf({}), { context: undefined })).published).toBeUndefined()
  expect(github.requests()).toEqual([])
})

test('standup, run and the other leg arrive one by one, and one comment follows them', async () => {
  const standup = await publish(legOf({ stage: 'standup' }))
  expect(standup.published).toMatchObject({
    artifactName: 'k.baseline.standup.a1',
    artifactUrl: expect.stringMatching(/^https:\/\/github\.com\/llm-d\/consumer\/actions\/runs\/4242\/artifacts\/\d+$/),
    commentUrl: expect.stringContaining('#issuecomment-'),
  })
  const results = await mkdtemp(path.join(temp, 'results-'))
  await mkdir(path.join(results, 'r1'))
  await writeFile(path.join(results, 'r1', 'results.json'), '{}')
  await symlink('/etc/passwd', path.join(results, 'r1', 'link'))
  await publish(legOf({}), { resultsFolder: results })
  const { published } = await publish(legOf({ leg: 'wva', status: 'failed' }))
  expect(Object.keys(github.artifacts().get('k.baseline.results.a1')!.files)).toEqual(['r1/results.json'])
  expect(github.comments()).toHaveLength(1)
  expect(body()?.split('\n').slice(0, -1)).toEqual([
    marker,
    'baseline standup a1 done',
    'baseline run a1 done',
    'wva run a1 failed',
  ])
  expect(JSON.parse(body()!.split('\n').at(-1)!)).toEqual({
    run: 'https://github.com/llm-d/consumer/actions/runs/4242',
    results: { baseline: expect.stringMatching(/\/actions\/runs\/4242\/artifacts\/\d+$/) },
  })
  expect(published?.body).toBe(body())
})

test('an artifact that is no leg, or not the one that it is named after, is left out and said so', async () => {
  const hostile = (content: unknown) => zip([['leg.json', JSON.stringify(content)]])
  github.addArtifact('k.broken.run.a1', hostile({ ...legOf({ leg: 'broken' }), status: '<script>' }))
  github.addArtifact('k.mallory.run.a1', hostile(legOf({ leg: 'baseline' })))
  github.addArtifact('k.garbage.run.a1', Buffer.from('garbage'))
  const { lines } = await publish(legOf({}))
  expect(body()).not.toMatch(/broken|mallory|garbage/)
  expect(lines.filter(l => /left out|reading artifact/.test(l))).toEqual([
    expect.stringMatching(/^artifact k\.broken\.run\.a1 is left out: .*status/),
    expect.stringMatching(/^reading artifact k\.garbage\.run\.a1 failed: this is not a ZIP archive/),
    expect.stringMatching(/^artifact k\.mallory\.run\.a1 is left out: its content belongs to another leg/),
  ])
})

test('while the other legs cannot be listed, the comment keeps what they have written', async () => {
  const written = body()
  github.faults.push({ method: 'POST', path: /ListArtifacts$/, status: 400, message: 'out of order' })
  const { published, lines } = await publish(legOf({ leg: 'blind' }))
  expect(published?.commentUrl).toBeUndefined()
  expect(body()).toBe(written)
  expect(lines.filter(l => l.startsWith('No comment was written'))).toHaveLength(1)
})

test('without permission to comment the artifacts are there all the same, and the log has the lines to add', async () => {
  github.faults.push({
    method: 'PATCH',
    path: /comments/,
    status: 403,
    message: 'Resource not accessible by integration',
  })
  const { published, lines } = await publish(legOf({ leg: 'denied' }))
  expect(published).toMatchObject({ artifactName: 'k.denied.run.a1' })
  expect(published?.commentUrl).toBeUndefined()
  expect(published?.body).toContain('denied run a1 done')
  expect(lines.filter(l => l.includes('pull-requests: write'))).toHaveLength(1)
})

test('without an artifact service the comment is written for this leg alone', async () => {
  const { published, lines } = await publish(legOf({ leg: 'lonely' }), {
    env: { ...github.env, ACTIONS_RUNTIME_TOKEN: '' },
  })
  expect(published?.artifactName).toBeUndefined()
  expect(body()?.split('\n').slice(0, -1)).toEqual([marker, 'lonely run a1 done'])
  expect(lines[0]).toContain('No artifact service here')
})

test('comment: never, and an event without a pull request, upload and do not comment', async () => {
  const requests = github.requests().length
  const { published } = await publish(legOf({ leg: 'silent' }), { comment: false })
  const { prNumber: _, ...push } = githubContext(github.env)!
  await publish(legOf({ leg: 'pushed' }), { context: push })
  expect(published).toMatchObject({
    artifactName: 'k.silent.run.a1',
    body: expect.stringContaining('silent run a1 done'),
  })
  expect([...github.artifacts().keys()]).toEqual(expect.arrayContaining(['k.silent.run.a1', 'k.pushed.run.a1']))
  expect(
    github
      .requests()
      .slice(requests)
      .filter(r => r.path.startsWith('/repos/')),
  ).toEqual([])
})

test('two legs that publish at the same moment end in one comment with both', async () => {
  await Promise.all(['left', 'right'].map(leg => publish(legOf({ leg }))))
  expect(github.comments()).toHaveLength(1)
  expect(body()).toContain('left run a1 done')
  expect(body()).toContain('right run a1 done')
})
