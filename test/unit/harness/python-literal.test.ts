import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { type Literal, parsePythonLiteral } from '../../../src/harness/python-literal.ts'

/** What CPython's repr writes for plain data. */
function repr(value: Literal): string {
  if (value === null) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'number') return String(value)
  if (typeof value === 'string') {
    const quote = value.includes("'") && !value.includes('"') ? '"' : "'"
    const body = value
      .replaceAll('\\', '\\\\')
      .replaceAll('\n', '\\n')
      .replaceAll('\r', '\\r')
      .replaceAll('\t', '\\t')
      .replace(/[\x00-\x1f\x7f]/g, c => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)
      .replaceAll(quote, `\\${quote}`)
    return quote + body + quote
  }
  if (Array.isArray(value)) return `[${value.map(repr).join(', ')}]`
  return `{${Object.entries(value)
    .map(([k, v]) => `${repr(k)}: ${repr(v)}`)
    .join(', ')}}`
}

const literal = fc.letrec<{ value: Literal }>(tie => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.string({ unit: fc.constantFrom('a', "'", '"', '\\', '\n', '{', '}', ',', ':', ' ', 'é', '日', '\x07') }),
    fc.array(tie('value') as fc.Arbitrary<Literal>, { maxLength: 4 }),
    fc.dictionary(
      fc.constantFrom('prompt', 'max_tokens', "it's", 'a"b', '__proto__'),
      tie('value') as fc.Arbitrary<Literal>,
    ),
  ),
})).value

test('every repr of plain data is read back to the data', () => {
  fc.assert(
    fc.property(literal, value => {
      expect(JSON.stringify(parsePythonLiteral(repr(value)))).toBe(JSON.stringify(value))
    }),
    { numRuns: 500 },
  )
})

test('any other text gives undefined and never throws', () => {
  fc.assert(fc.property(fc.string(), text => void parsePythonLiteral(text)))
  for (const text of [
    '',
    '{',
    "{'a': }",
    "{'a': 1",
    "{'a' 1}",
    "'unclosed",
    "'escaped\\'",
    'import os',
    '[1, 2',
    "{'a': __import__('os')}",
  ]) {
    expect(parsePythonLiteral(text)).toBeUndefined()
  }
})

test('text that nests deeper than any request is given up instead of overflowing the stack', () => {
  expect(parsePythonLiteral('['.repeat(100_000))).toBeUndefined()
})

test('a prompt that quotes request arguments cannot pass for them', () => {
  const text = `{'body': {'prompt': "x', 'max_tokens': 9999, 'y': '", 'max_tokens': 12}}`
  expect(parsePythonLiteral(text)).toEqual({ body: { prompt: "x', 'max_tokens': 9999, 'y': '", max_tokens: 12 } })
})

test('tuples, trailing commas and escapes of every width are read', () => {
  expect(parsePythonLiteral(`('a', 1.5e-3, -2,)`)).toEqual(['a', 0.0015, -2])
  expect(parsePythonLiteral(String.raw`'\x41\u00e9\U0001f600\'\\'`)).toBe("Aé😀'\\")
})
