import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { artifactName, artifactStages, keyOf, legName, newest, parseArtifactName } from '../../../src/github/naming.ts'

test('a leg is called after its matrix, and without one after the autoscaler', () => {
  expect(legName(undefined, undefined)).toBe('baseline')
  expect(legName(null, false)).toBe('baseline')
  expect(legName(undefined, true)).toBe('wva')
  expect(legName({ wva: true }, undefined)).toBe('wva')
  expect(legName({ wva: 'true' }, undefined)).toBe('wva')
  expect(legName({ wva: 'false' }, undefined)).toBe('baseline')
  expect(legName('{ "wva": false }', undefined)).toBe('baseline')
  expect(legName({ wva: true, replicas: 4, rack: 'b' }, undefined)).toBe('b_replicas-4_wva')
  expect(legName({ replicas: 4, rack: 'b', wva: true }, undefined)).toBe('b_replicas-4_wva')
  expect(legName({ eager: true, pdb: false }, undefined)).toBe('eager_no-pdb')
})

test('values that only differ in what a slug loses still give two legs', () => {
  const names = ['a/b', 'a-b', 'A-b', 'a b', 'ä', 'ö'].map(model => legName({ model }, undefined))
  expect(new Set(names).size).toBe(names.length)
  expect(legName({ x: 'a-b', y: 'c' }, undefined)).not.toBe(legName({ x: 'a', y: 'b-c' }, undefined))
})

test('two workflows, and two pull requests, never share a key; the same one always does', () => {
  const of = { profile: 'chatbot_synthetic', model: 'meta-llama/Llama-3.1-8B', workflow: 'benchmark', prNumber: 7 }
  expect(keyOf(of)).toMatch(/^chatbot-synthetic-meta-llama-llama-3-1-8b-[0-9a-f]{6}$/)
  expect(keyOf({ ...of })).toBe(keyOf(of))
  const { prNumber, ...noPull } = of
  const keys = [
    of,
    { ...of, workflow: 'nightly' },
    { ...of, prNumber: prNumber + 1 },
    noPull,
    { ...of, model: 'Qwen/Qwen3-0.6B' },
  ].map(keyOf)
  expect(new Set(keys).size).toBe(keys.length)
})

test('every name is one that an artifact may have, and reads back as its parts', () => {
  const text = fc.string({ unit: 'binary', maxLength: 120 })
  const value = fc.oneof(text, fc.boolean(), fc.double(), fc.constant(null), fc.array(fc.integer()))
  fc.assert(
    fc.property(
      fc.record({ profile: text, model: text, workflow: text, matrix: fc.dictionary(text, value, { maxKeys: 5 }) }),
      fc.constantFrom(...artifactStages),
      fc.integer({ min: 1, max: 999_999 }),
      fc.integer({ min: 1, max: 9 }),
      (of, stage, attempt, upload) => {
        const [key, leg] = [keyOf(of), legName(of.matrix, undefined)]
        const name = artifactName(key, leg, stage, attempt, upload)
        expect(name).not.toMatch(/[":<>|*?\r\n\\/]/)
        expect(name.length).toBeLessThanOrEqual(200)
        expect(key).not.toContain('--')
        expect(parseArtifactName(name)).toEqual({ key, leg, stage, attempt, upload })
      },
    ),
    { numRuns: 500 },
  )
})

test('artifacts of others are no legs', () => {
  for (const name of [
    'coverage',
    'k.l.run',
    'k.l.run.a0',
    'k.l.run.a1-1',
    'k.l.walk.a1',
    'k.l.run.a1.zip',
    'K.l.run.a1',
    'k..run.a1',
    '../k.l.run.a1',
  ]) {
    expect(parseArtifactName(name)).toBeUndefined()
  }
})

test('of every leg and stage the newest attempt counts, by number and not by letter', () => {
  const names = [
    'k.baseline.run.a9',
    'k.baseline.run.a10',
    'k.baseline.run.a10-2',
    'k.baseline.standup.a1',
    'k.wva.run.a1',
    'k.wva.results.a1',
    'other.wva.run.a3',
    'x',
  ]
  expect(newest(names, 'k')).toEqual(['k.baseline.standup.a1', 'k.baseline.run.a10-2', 'k.wva.run.a1'])
  expect(newest([...names].reverse(), 'k')).toEqual(newest(names, 'k'))
  expect(newest(names, 'k', ['results'])).toEqual(['k.wva.results.a1'])
})
