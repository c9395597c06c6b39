import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { betweenStepsSeconds, lockedStack, locksOf, mayTearDown, stackOfLock } from '../../../src/stack/locks.ts'

const baseline = { namespace: 'bench', stack: 'llmdbench-m', model: 'org/model' }
const wva = { ...baseline, autoscaling: { controllerNamespace: 'llm-d-autoscaler' } }

describe('the Leases of a stack', () => {
  test('are one for its namespace, and under WVA one for its model, taken in this order', () => {
    const labels = { 'llm-d.ai/bench-stack': 'llmdbench-m' }
    expect(locksOf(baseline)).toEqual([{ namespace: 'bench', name: 'llm-d-bench', labels }])
    expect(locksOf(wva)).toEqual([
      { namespace: 'bench', name: 'llm-d-bench', labels },
      { namespace: 'llm-d-autoscaler', name: expect.stringMatching(/^llm-d-bench-wva-[0-9a-f]{10}$/), labels },
    ])
  })

  test('of one model are one Lease in every namespace, of two models they are two', () => {
    const name = (change: object) => locksOf({ ...wva, ...change })[1]!.name
    expect(name({ namespace: 'other', stack: 'other' })).toBe(name({}))
    expect(name({ model: 'org/model2' })).not.toBe(name({}))
    expect(name({ model: 'Org/Model' })).not.toBe(name({}))
  })

  test('have valid names whatever the model is called', () => {
    fc.assert(
      fc.property(fc.string(), model => {
        for (const { name } of locksOf({ ...wva, model })) expect(name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
      }),
    )
  })
})

describe('the stack that a Lease names', () => {
  test('is read back as it was written', () => {
    expect(stackOfLock(lockedStack({ namespace: 'bench', stack: 'llmdbench-m' }))).toEqual({
      ...{ namespace: 'bench', stack: 'llmdbench-m' },
    })
  })

  test.each([
    '',
    'bench',
    'bench/',
    '/stack',
    'bench/a/b',
    'bench/a b',
    'bench/a,app!=x',
    'bench/a\n',
    '\nbench/a',
    'bench/a=b',
    '../kube-system/a',
    'Bench/a',
    'bench/-a',
    '-bench/a',
    'bench/ü',
    `bench/${'a'.repeat(64)}`,
    `${'a'.repeat(64)}/a`,
  ])('is none for %j', text => {
    expect(stackOfLock(text)).toBeUndefined()
  })

  test('never holds what could mean more than one label value', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (namespace, stack) => {
        const found = stackOfLock(`${namespace}/${stack}`)
        if (found === undefined) return
        expect(`${found.namespace}/${found.stack}`).toMatch(/^[a-z0-9-]+\/[a-z0-9-]+$/)
        expect(found.stack.length).toBeLessThanOrEqual(63)
      }),
    )
  })
})

describe('who may tear a stack down', () => {
  const me = { holder: 'me', byHand: false, force: false }
  const theirs = { holder: 'them', expired: false, active: false }
  const running = { ...theirs, active: true }

  test.each<[string, Parameters<typeof mayTearDown>[0], Partial<typeof me>, boolean]>([
    ['nobody holds a Lease', undefined, {}, true],
    ['the Lease has no holder', { ...theirs, holder: undefined }, {}, true],
    ['the Lease is its own', { ...theirs, holder: 'me' }, {}, true],
    ['a step of its own runs', { ...running, holder: 'me' }, {}, true],
    ['the Lease of others has run out', { ...theirs, expired: true }, {}, true],
    ['others hold it between two steps', theirs, {}, false],
    ['a step of others runs', running, {}, false],
    ['others hold it between two steps, and a person says so', theirs, { byHand: true }, true],
    ['a step of others runs, and a person says so', running, { byHand: true }, false],
    ['others hold it between two steps, and it is forced', theirs, { force: true }, true],
    ['a step of others runs, and it is forced', running, { force: true }, true],
    ['a step of others runs, and a person forces it', running, { byHand: true, force: true }, true],
  ])('%s', (_case, lease, claim, ok) => {
    const verdict = mayTearDown(lease, { ...me, ...claim })
    expect(verdict).toEqual(ok ? { ok: true } : { ok: false, holder: 'them', active: lease?.active })
  })
})

test('between two steps of a job a stack stays its own for a quarter of an hour', () => {
  expect(betweenStepsSeconds).toBe(900)
})
