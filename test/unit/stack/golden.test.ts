import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { parseAllDocuments, stringify } from 'yaml'
import { redact } from '../../../src/stack/stack.ts'
import { configurations } from './configurations.ts'
import { hfToken, planOf, specWith } from './specs.ts'

test.each(Object.entries(configurations()))('the objects of %s are those of its golden file', (name, spec) => {
  const file = path.join(import.meta.dirname, '..', '..', 'golden', `${name}.yaml`)
  const text = redact(planOf(spec))
    .map(o => stringify(o, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join('---\n')
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, text)
  expect(text).toBe(readFileSync(file, 'utf8'))
  expect(text).not.toContain(hfToken)
  expect(text).not.toContain(Buffer.from(hfToken).toString('base64'))
})

test('a golden file reads back as the very objects that are applied', () => {
  const spec = specWith()
  const file = path.join(import.meta.dirname, '..', '..', 'golden', 'stack-default.yaml')
  const read = parseAllDocuments(readFileSync(file, 'utf8')).map(d => d.toJS())
  expect(read).toEqual(redact(planOf(spec)))
})
