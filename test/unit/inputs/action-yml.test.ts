import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { fields, outputs } from '../../../src/inputs/fields.ts'

const action = parse(readFileSync(path.join(import.meta.dirname, '../../../action.yml'), 'utf8'))

test('action.yml declares exactly the inputs of the table, with their defaults', () => {
  expect(Object.keys(action.inputs)).toEqual(fields.map(f => f.name))
  for (const f of fields) {
    expect(action.inputs[f.name].description).toContain(f.help)
    expect(action.inputs[f.name].default ?? '').toBe(f.default)
    expect(action.inputs[f.name].required ?? false).toBe(f.required)
  }
})

test('action.yml declares exactly the outputs of the table', () => {
  expect(Object.keys(action.outputs)).toEqual(outputs.map(o => o.name))
})

test('main and post are the one bundle, and post always runs', () => {
  expect(action.runs).toEqual({ using: 'node24', main: 'dist/index.js', post: 'dist/index.js', 'post-if': 'always()' })
})
