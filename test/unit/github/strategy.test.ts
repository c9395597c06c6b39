import { expect, test } from '@jest/globals'
import { expectedLegs } from '../../../src/github/strategy.ts'

const strategy = (total: unknown) => ({ 'fail-fast': false, 'job-index': 0, 'job-total': total, 'max-parallel': 2 })
const ofKey = ['meta-llama/Llama-3.1-8B', 'chatbot_synthetic']

test('every job of the matrix is a leg of the comment', () => {
  expect(expectedLegs(strategy(2), { wva: true }, ofKey)).toBe(2)
  expect(expectedLegs(JSON.stringify(strategy(2)), '{"wva":false}', ofKey)).toBe(2)
  expect(expectedLegs(strategy(1), undefined, ofKey)).toBe(1)
  expect(expectedLegs(strategy(256), null, ofKey)).toBe(256)
})

test.each([0, 257, -1, 2.5, Number.NaN, '2', null, undefined, [2]])('a job-total of %p is not believed', total => {
  expect(expectedLegs(strategy(total), {}, ofKey)).toBeUndefined()
})

test.each([undefined, null, '', 'nonsense', 'null', '"2"', 2, [], '[2]'])('a strategy of %j gives no number', value => {
  expect(expectedLegs(value, {}, ofKey)).toBeUndefined()
})

test('a matrix over what decides about the comment does not say how many legs each comment has', () => {
  expect(expectedLegs(strategy(4), { wva: true, model: 'meta-llama/Llama-3.1-8B' }, ofKey)).toBeUndefined()
  expect(expectedLegs(strategy(4), { wva: true, profile: 'chatbot_synthetic' }, ofKey)).toBeUndefined()
  expect(expectedLegs(strategy(4), { wva: true, replicas: 2 }, ofKey)).toBe(4)
})
