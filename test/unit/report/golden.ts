import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect } from '@jest/globals'

/** Compares with test/golden/<name>; UPDATE_GOLDEN=1 writes it instead, to be read before it is committed. */
export function expectGolden(name: string, text: string): void {
  const file = path.join(import.meta.dirname, '..', '..', 'golden', name)
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, text)
  expect(text).toBe(readFileSync(file, 'utf8'))
}
