import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { UserError } from '../../../src/errors.ts'
import { nearest } from '../../../src/nearest.ts'
import { inferenceScheduling } from '../../../src/paths/inference-scheduling.ts'
import { applyOverrides } from '../../../src/paths/overrides.ts'

const problemsOf = (overrides: unknown): readonly string[] => {
  try {
    applyOverrides(inferenceScheduling, overrides)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    expect(error.failure.code).toBe('INPUT')
    return error.failure.evidence
  }
  return []
}

test('overrides replace single settings, merge maps, and leave the rest and the preset itself as they are', () => {
  const before = structuredClone(inferenceScheduling)
  const merged = applyOverrides(inferenceScheduling, {
    maxModelLen: 32000,
    cpu: 8,
    extraArgs: ['--max-num-seqs', 256],
    env: { UCX_TLS: 'tcp', DEBUG: true },
    startupProbe: { periodSeconds: 30 },
    harness: { memory: '64Gi' },
  })
  expect(merged).toEqual({
    ...before,
    maxModelLen: 32000,
    cpu: '8',
    extraArgs: ['--max-num-seqs', '256'],
    env: { ...before.env, UCX_TLS: 'tcp', DEBUG: 'true' },
    startupProbe: { ...before.startupProbe, periodSeconds: 30 },
    harness: { cpu: '16', memory: '64Gi' },
  })
  expect(inferenceScheduling).toEqual(before)
})

test.each([undefined, null, {}])('overrides of %p change nothing', overrides => {
  expect(applyOverrides(inferenceScheduling, overrides)).toEqual(inferenceScheduling)
})

test('all problems of one patch are reported at once', () => {
  expect(
    problemsOf({
      maxModelLenn: 1,
      maxModelLen: 'many',
      tensorParallel: 0,
      blockSize: 1.5,
      gpuMemoryUtilization: 1.1,
      memory: '64 GB',
      extraArgs: '--enforce-eager',
      env: { 'A B': 'x', C: [1] },
      startupProbe: 5,
      gateway: { classname: 'kgateway' },
      scheduler: { plugins: '' },
    }),
  ).toEqual([
    '`maxModelLenn` is not a setting; did you mean `maxModelLen`?',
    '`maxModelLen` must be a whole number, 1 or more, not "many".',
    '`tensorParallel` must be a whole number, 1 or more, not 0.',
    '`blockSize` must be a whole number, 1 or more, not 1.5.',
    '`gpuMemoryUtilization` must be a fraction above 0, at most 1, not 1.1.',
    '`memory` must be a quantity such as 16, 500m or 64Gi, not "64 GB".',
    '`extraArgs` must be a list of strings, not "--enforce-eager".',
    '`env.A B` is not a name that a shell can export.',
    '`env.C` must be text.',
    '`startupProbe` must be a map.',
    '`gateway.classname` is not a setting; did you mean `className`?',
    '`scheduler.plugins` must be text, not "".',
  ])
})

test.each([[[]], ['text'], [7]])('overrides that are %p are no map of settings', overrides => {
  expect(problemsOf(overrides)).toEqual(['The whole must be a YAML map of settings.'])
})

test.each(['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'])('the token %s is refused, since the plan would show it', name => {
  expect(problemsOf({ env: { [name]: 'hf_secret' } })).toEqual([expect.stringContaining('`hf-token`')])
  expect(problemsOf({ env: { [name]: 'hf_secret' } }).join()).not.toContain('hf_secret')
})

test('names that every object inherits are no settings', () => {
  for (const key of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    expect(problemsOf(JSON.parse(`{${JSON.stringify(key)}: {"polluted": 1}}`))).toEqual([
      expect.stringContaining(`\`${key}\` is not a setting`),
    ])
  }
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
})

test('whatever the patch is, the result has the keys and types of the preset, or a UserError says why not', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...Object.keys(inferenceScheduling)), fc.jsonValue()), patch => {
      let merged: unknown
      try {
        merged = applyOverrides(inferenceScheduling, patch)
      } catch (error) {
        expect(error).toBeInstanceOf(UserError)
        return
      }
      for (const [key, value] of Object.entries(inferenceScheduling)) {
        const got = (merged as Record<string, unknown>)[key]
        expect([typeof got, Array.isArray(got)]).toEqual([typeof value, Array.isArray(value)])
      }
    }),
  )
})

test('a name that is nothing like the known ones gets no suggestion', () => {
  expect(nearest('zzz', ['cpu', 'memory'])).toBeUndefined()
  expect(nearest('Memry', ['cpu', 'memory'])).toBe('memory')
})
