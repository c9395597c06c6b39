import { expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { builtInProfiles, plannedSeconds, renderProfile } from '../../../src/harness/profiles.ts'
import { chartBehavior } from '../../../src/stack/components/autoscaling.ts'
import { expectedReaction } from '../../../src/timeline/reaction.ts'
import { failureOf } from './failure-of.ts'

const stack = {
  target: 'http://infra-llmdbench-inference-gateway-istio.ns.svc.cluster.local:80',
  model: 'meta-llama/Llama-3.1-8B',
}
const render = (template: string, overrides: Record<string, unknown> = {}, seed = 43) =>
  renderProfile(template, stack, overrides, { seed })
const minimal = `profile: constant
rate: [1]
max_seconds: 10
data:
  prompt_tokens: 10
  output_tokens: 10
`

test('B57: chatbot_synthetic renders to exactly its YAML, with nested data, and the seed', () => {
  const { yaml, profile } = render('chatbot_synthetic')
  expect(yaml).toBe(`target: ${stack.target}
model: meta-llama/Llama-3.1-8B
request_type: text_completions
profile: constant
rate:
  - 1
  - 2
  - 4
  - 8
max_seconds: 120
data:
  prompt_tokens_min: 10
  prompt_tokens_max: 8192
  prompt_tokens: 4096
  prompt_tokens_stdev: 2048
  output_tokens_min: 10
  output_tokens_max: 2048
  output_tokens: 1024
  output_tokens_stdev: 512
  samples: 1000
random_seed: 43
backend_kwargs:
  timeout: 120
`)
  expect(profile).toEqual({
    profile: 'chatbot_synthetic',
    rates: [1, 2, 4, 8],
    secondsPerRate: 120,
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  })
  expect(plannedSeconds(profile)).toBe(480)
})

test('chatbot_autoscaling sends the same requests, up and down again, in steps that are long enough for WVA to answer', () => {
  const { yaml, profile } = render('chatbot_autoscaling')
  expect(profile).toMatchObject({ rates: [1, 2, 4, 8, 4, 2, 1], secondsPerRate: 600 })
  const { rate: _rate, max_seconds: _seconds, backend_kwargs, ...rest } = parse(yaml)
  const { rate: _r, max_seconds: _s, backend_kwargs: _k, ...synthetic } = parse(render('chatbot_synthetic').yaml)
  expect(rest).toEqual(synthetic)
  expect(backend_kwargs).toEqual({ timeout: 600 })
  const { seconds } = expectedReaction({
    ...{ behavior: chartBehavior, reconcileMs: 60_000, startSeconds: 120, stepSeconds: profile.secondsPerRate },
  })
  expect(seconds).toBeLessThan(profile.secondsPerRate)
})

test('the identity of a workload is its meaning: not its target, model, seed, comments or order of keys', () => {
  const { sha256 } = render('chatbot_synthetic').profile
  expect(
    renderProfile('chatbot_synthetic', { target: 'http://other:1', model: 'a/b' }, {}, { seed: 7 }).profile.sha256,
  ).toBe(sha256)
  const reordered = `# mine\n${builtInProfiles.chatbot_synthetic!.split('\n').slice(2, 6).reverse().join('\n')}\n${builtInProfiles.chatbot_synthetic!.split('\n').slice(6).join('\n')}`
  expect(render(reordered).profile.sha256).toBe(sha256)
  expect(render('chatbot_synthetic', { rate: [1, 2, 4] }).profile.sha256).not.toBe(sha256)
})

test('B58: target and model are filled in, in a placeholder, in place of a literal, or where the profile has none', () => {
  for (const text of [
    minimal,
    `target: http://my-laptop:8000\nmodel: other/model\n${minimal}`,
    `target: REPLACE_ENV_LLMDBENCH_HARNESS_STACK_ENDPOINT_URL\n${minimal}`,
  ]) {
    expect(parse(render(text).yaml)).toMatchObject({ ...stack, random_seed: 43 })
  }
})

test('B58: a placeholder takes its default, REPLACE_COMMA a comma, and comments are dropped', () => {
  const text = minimal
    .replace('rate: [1]', 'rate: [REPLACE_ENV_RATES++++default=1REPLACE_COMMA2] # REPLACE_ENV_NOT_READ')
    .replace('max_seconds: 10', '# REPLACE_ENV_ALSO_NOT_READ\nmax_seconds: REPLACE_ENV_SECONDS++++default=30')
  const { yaml, profile } = render(`${text}processor: "a#b"  # not 'c'\n`)
  expect(profile).toMatchObject({ rates: [1, 2], secondsPerRate: 30, profile: 'custom' })
  expect(parse(yaml).processor).toBe('a#b')
})

test('B58: an unresolved placeholder fails, naming it', async () => {
  const failure = await failureOf(() => render(minimal.replace('10', 'REPLACE_ENV_MY_SECONDS')))
  expect(failure).toMatchObject({
    code: 'INPUT',
    what: expect.stringContaining('REPLACE_ENV_MY_SECONDS'),
    next: expect.stringContaining('REPLACE_ENV_MY_SECONDS++++default='),
  })
})

test('a model name from the cluster cannot add keys to a profile', async () => {
  for (const model of ['x\nmax_seconds: 99999', 'x, y: z', 'x #', '*anchor', '{a: b}']) {
    const failure = await failureOf(() => renderProfile('chatbot_synthetic', { ...stack, model }, {}, { seed: 1 }))
    expect(failure).toMatchObject({ code: 'INPUT', what: expect.stringContaining('LLMDBENCH_DEPLOY_CURRENT_MODEL') })
  }
})

test('B59: overrides address YAML keys by dotted path, and lists are values', () => {
  const { yaml, profile } = render('chatbot_synthetic', {
    rate: [0.5, 3],
    max_seconds: 20,
    'data.prompt_tokens': 100,
    'data.prompt_tokens_max': 200,
    warmup: 0.1,
  })
  expect(profile).toMatchObject({ rates: [0.5, 3], secondsPerRate: 20 })
  expect(parse(yaml)).toMatchObject({
    rate: [0.5, 3],
    warmup: 0.1,
    data: { prompt_tokens: 100, prompt_tokens_max: 200, prompt_tokens_min: 10, output_tokens: 1024 },
  })
})

test.each([
  ['rates', [1], 'did you mean `rate`?'],
  ['data.promt_tokens', 5, 'did you mean `data.prompt_tokens`?'],
  ['max_second', 5, 'did you mean `max_seconds`?'],
  ['prompt_tokens', 5, 'no key `prompt_tokens` at the top'],
  ['rate.0', 5, '`rate` is [1,2,4,8], not a map'],
  ['constructor', 5, 'no key `constructor`'],
  ['__proto__.polluted', 5, 'no key `__proto__`'],
  ['target', 'http://evil', 'see the input endpoint'],
  ['random_seed', 1, 'the input seed'],
])('B59: the override %s is refused', async (path, value, why) => {
  const failure = await failureOf(() => render('chatbot_synthetic', { [path]: value }))
  expect(failure).toMatchObject({ code: 'INPUT', what: expect.stringContaining(JSON.stringify(path)) })
  expect(failure.why).toContain(why)
})

test.each([
  [
    'data that lost its indentation',
    minimal.replaceAll('  ', ''),
    '`prompt_tokens` stands at the top and belongs below `data:`',
  ],
  ['no data', minimal.slice(0, minimal.indexOf('data:')), '`data` must be a map'],
  ['the 0.7 form', 'spec:\n  profile: {kind: constant}\n', 'guidellm 0.7'],
  ['another strategy', minimal.replace('constant', 'throughput'), 'only constant offers the same load'],
  ['a mistyped key', minimal.replace('max_seconds', 'max_secs'), 'did you mean `max_seconds`?'],
  ['a mistyped data key', minimal.replace('output_tokens', 'output_token'), 'did you mean `data.output_tokens`?'],
  ['no rate', minimal.replace('rate: [1]\n', ''), '`rate` must be a list'],
  ['a rate of 0', minimal.replace('[1]', '[1, 0]'), 'not [1,0]'],
  ['a rate as text', minimal.replace('[1]', '"1,2"'), 'not "1,2"'],
  ['no length', minimal.replace('max_seconds: 10\n', ''), '`max_seconds` must be a number above 0'],
  ['a credential', `${minimal}backend_kwargs: {api_key: sk-1}\n`, 'a credential'],
  ['no YAML', 'profile: [constant', 'not YAML'],
  ['a list', '- 1\n', 'not a map'],
])('a profile with %s is refused', async (_name, text, why) => {
  const failure = await failureOf(() => render(text))
  expect(failure).toMatchObject({ code: 'INPUT', what: expect.stringContaining('"custom"') })
  expect(failure.why).toContain(why)
  expect(JSON.stringify(failure)).not.toContain('sk-1')
})
