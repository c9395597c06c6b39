import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { clean, md, mdBlock, mdCode, mdLink } from '../../../src/report/escape.ts'

/** What a browser shows of the result: entities decoded, seams invisible. */
const shown = (markdown: string): string =>
  markdown.replaceAll('\u200b', '').replace(/&#(\d+);/g, (_all, code: string) => String.fromCodePoint(Number(code)))
const oneLine = (text: string): string => clean(text).replace(/\s+/g, ' ').trim()

/** Text of what hurts, mixed with anything. */
const hostile = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        '@octocat',
        '#123',
        'GH-9',
        'o/r#1',
        'https://evil.example',
        'www.evil.example',
        '![x](https://e/x.png)',
        '[a](javascript:1)',
        '<img src=x>',
        '<!--',
        '-->',
        '</details>',
        '```',
        '`',
        '|',
        '\n',
        '\r\n',
        '\n\n# h',
        '\u202e',
        '\u200b',
        '\x1b[31m',
        '&lt;',
        '&#64;',
        '\\',
        '**',
        '$x$',
        '~~',
        '---',
        '1.',
        '+',
        '\ud800',
        '\u2028',
      ),
    ),
    { maxLength: 12 },
  )
  .map(parts => parts.join(''))

test('text in Markdown shows what it was and holds nothing that Markdown, HTML or GitHub acts on', () => {
  fc.assert(
    fc.property(hostile, text => {
      const result = md(text, 10_000)
      expect(shown(result)).toBe(oneLine(text))
      const entities = result.replace(/&#\d+;/g, '')
      expect(entities).not.toMatch(/[&<>|`*_~[\]\\$"\n\r\t\x00-\x1f\x7f-\x9f]/)
      expect(entities).not.toMatch(/@(?!\u200b)|#\d|\bGH-\d|:\/\/|\bwww\.|\bmailto:/i)
      expect(result).not.toMatch(/^(?:[#+=-]|\d+[.)]|\s)/)
      expect(result).not.toMatch(/[\u202a-\u202e\u2066-\u2069\u2028\u2029]/)
      expect(result.isWellFormed()).toBe(true)
    }),
    { numRuns: 1000 },
  )
})

test.each([
  ['@everyone see #42', '@\u200beveryone see #\u200b42'],
  ['#42', '&#35;\u200b42'],
  ['llm-d/llm-d#7', 'llm-d/llm-d#\u200b7'],
  ['https://evil.example/x', 'https:\u200b//evil.example/x'],
  ['a | b', 'a &#124; b'],
  ['</summary><script>', '&#60;/summary&#62;&#60;script&#62;'],
  ['--> x', '&#45;-&#62; x'],
  ['![i](u)', '!&#91;i&#93;(u)'],
  ['1. item', '1&#46; item'],
  ['two\n\nparagraphs', 'two paragraphs'],
  ['evil\u202etxt.exe', 'eviltxt.exe'],
  ['\x1b[31mred\x1b[0m', 'red'],
  ['plain text, 3.5 ms (p95)', 'plain text, 3.5 ms (p95)'],
])('md(%j)', (text, expected) => {
  expect(md(text)).toBe(expected)
})

test('long text is cut with an ellipsis, never inside a character', () => {
  expect(md('x'.repeat(600))).toBe(`${'x'.repeat(499)}…`)
  expect(md(`${'x'.repeat(8)}😀tail`, 10)).toBe(`${'x'.repeat(8)}…`)
})

test('a code span ends where it should, whatever it holds', () => {
  fc.assert(
    fc.property(hostile, text => {
      const result = mdCode(text, 10_000)
      expect(result).not.toMatch(/[|\n\r]/)
      if (oneLine(text) === '') return
      const fence = /^`+/.exec(result)![0]
      const inner = result.slice(fence.length, -fence.length)
      expect(result.endsWith(fence)).toBe(true)
      expect([...inner.matchAll(/`+/g)].every(run => run[0].length !== fence.length)).toBe(true)
      expect(inner.trim()).toBe(oneLine(text).replaceAll('|', '｜'))
    }),
    { numRuns: 500 },
  )
})

test('a fenced block cannot be left, and keeps the last lines within its limits', () => {
  fc.assert(
    fc.property(fc.array(hostile, { maxLength: 8 }), lines => {
      const result = mdBlock(lines, { lines: 5, bytes: 400 })
      const [first = '', ...rest] = result.split('\n')
      const fence = /^`{3,}/.exec(first)![0]
      expect(first).toBe(`${fence}text`)
      expect(rest.at(-1)).toBe(fence)
      for (const line of rest.slice(0, -1))
        expect(new RegExp(`^ {0,3}\`{${fence.length},}\\s*$`).test(line)).toBe(false)
      expect(rest.length).toBeLessThanOrEqual(5 + 2)
    }),
    { numRuns: 500 },
  )
  expect(mdBlock(['a', 'b', 'c'], { lines: 2, bytes: 100 })).toBe('```text\n(1 earlier lines left out)\nb\nc\n```')
})

test.each([
  'https://evil.example/)![x](https://e',
  'https://e/<script>',
  'javascript:alert(1)',
  'http://plain.example',
  'https://e/a b',
  'https://e/"x',
  `https://e/${'a'.repeat(600)}`,
])('%s does not become a link', address => {
  expect(mdLink('here', address)).toBeUndefined()
})

test('a plain https address becomes a link', () => {
  expect(mdLink('run', 'https://github.com/o/r/actions/runs/1')).toBe('[run](https://github.com/o/r/actions/runs/1)')
  expect(mdLink('run', undefined)).toBeUndefined()
})
