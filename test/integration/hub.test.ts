import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { asFailure } from '../../src/errors.ts'
import { modelAccess } from '../../src/hub/model.ts'
import { type Log, silentLog } from '../../src/log.ts'
import { type Hub, startHub } from '../sandbox/hub.ts'

const gated = 'meta-llama/Llama-3.1-8B'
const open = 'facebook/opt-125m'
let hub: Hub
let warnings: string[] = []
const log: Log = { ...silentLog, warning: line => void warnings.push(line) }

beforeAll(async () => {
  hub = await startHub({ gated: { [gated]: ['hf_good'] }, models: [open], tokens: ['hf_other'] })
})
beforeEach(() => {
  warnings = []
})
afterAll(() => hub.close())

const ask = (model: string, token?: string, endpoint = hub.url) =>
  modelAccess({ model, token, endpoint, signal: AbortSignal.timeout(10_000), log })
const refusal = (model: string, token?: string) =>
  ask(model, token).then(
    () => undefined,
    error => asFailure(error),
  )

test('B5: a gated model without a token is refused, and the failure names model and input', async () => {
  const failure = await refusal(gated)
  expect(failure).toMatchObject({
    code: 'INPUT',
    what: expect.stringContaining(gated),
    next: expect.stringContaining('hf-token'),
  })
})

test('B6: a token with access opens a gated model, and the revision is known', async () => {
  expect(await ask(gated, 'hf_good')).toEqual({ gated: true, revision: expect.stringMatching(/^[0-9a-f]{40}$/) })
})

test('B6: a token without access is refused, and the failure names the model and never the token', async () => {
  const failure = await refusal(gated, 'hf_other')
  expect(failure).toMatchObject({
    code: 'PREFLIGHT',
    what: expect.stringContaining(gated),
    why: expect.stringContaining('403'),
  })
  expect(JSON.stringify(failure)).not.toContain('hf_other')
})

test('B6: nothing of an open model is downloaded to find out about its access', async () => {
  const before = hub.requests.length
  expect(await ask(open)).toMatchObject({ gated: false })
  expect(hub.requests.slice(before).map(r => r.url)).toEqual([`/api/models/${open}`])
})

test('a model that the hub does not know is refused by name', async () => {
  expect(await refusal('facebook/opt-125mm')).toMatchObject({
    code: 'INPUT',
    what: expect.stringContaining('facebook/opt-125mm'),
  })
})

test('B6: a hub that cannot be reached is reported, and not taken for "not gated" when there is a token', async () => {
  const closed = await startHub()
  await closed.close()
  expect(await ask(gated, 'hf_good', closed.url)).toEqual({ gated: true })
  expect(warnings.join()).toContain(`access to ${gated} was not checked`)
})
