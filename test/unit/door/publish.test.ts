import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import type { Door } from '../../../src/door.ts'
import type { Inputs } from '../../../src/inputs.ts'
import type { Log } from '../../../src/log.ts'
import type { Session } from '../../../src/modes/session.ts'
import { publish } from '../../../src/publish.ts'
import type { LegDocument } from '../../../src/results/schema.ts'
import { baselineLeg, ups } from '../report/two-legs.ts'

let out: string
beforeEach(async () => {
  out = await mkdtemp(path.join(tmpdir(), 'bench-publish-'))
})
afterEach(() => rm(out, { recursive: true }))

const log: Log = { info: () => {}, warning: () => {}, debug: () => {}, group: (_name, work) => work() }

/** Publishes a finished baseline from outside of GitHub; what the door and the folder got. */
async function published(inputs: Partial<Inputs>, leg: LegDocument = baselineLeg(ups)) {
  const summaries: string[] = []
  const door = {
    kind: 'cli',
    log,
    output: () => {},
    summary: (text: string) => summaries.push(text),
  } as unknown as Door
  const session = {
    inputs: { model: leg.identity.model, workload: 'chatbot_synthetic', comment: 'never', dryRun: false, ...inputs },
    env: {},
    log,
    signal: new AbortController().signal,
    out,
    github: undefined,
    key: leg.key,
    leg: leg.leg,
    attempt: 1,
  } as unknown as Session<Inputs>
  await publish(door, session, { outputs: {}, leg })
  return { comment: await readFile(path.join(out, 'comment.md'), 'utf8'), summaries }
}

test('the comment says how many legs of the matrix are done; the summary, which nobody rewrites, does not', async () => {
  const { comment, summaries } = await published({ strategy: { 'job-index': 0, 'job-total': 2 } })
  expect(comment).toContain('### ⏳ Benchmark running: 1 of 2 legs done (baseline)')
  expect(summaries).toHaveLength(1)
  expect(summaries[0]).toContain('### 📏 Baseline measured: 2 replicas')
})

test.each([undefined, { 'job-total': 1 }, { 'job-total': 'many' }])(
  'with the strategy %j one leg is all',
  async strategy => {
    const { comment } = await published({ strategy })
    expect(comment).toContain('### 📏 Baseline measured: 2 replicas')
  },
)
