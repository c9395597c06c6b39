import { nearest } from '../nearest.ts'
import { type Field, fieldByName } from './fields.ts'
import type { Problem } from './types.ts'
import type * as values from './values.ts'

/** A value as it may be shown: short, and nothing that looks like a credential pasted into the wrong input. */
export const shown = (text: string): string => {
  if (/\b(hf_|gh[a-z]_|github_pat_|eyJ|sha256~)[\w.-]{8,}|-----BEGIN/.test(text))
    return '(hidden: it looks like a secret)'
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text)
}

/** Collects problems while fields are read, so that one call reports all of them. */
export class Reader {
  readonly problems: Problem[] = []
  readonly secrets: string[] = []
  readonly #raw: Readonly<Record<string, string>>
  constructor(raw: Readonly<Record<string, string>>) {
    this.#raw = raw
  }
  problem(input: string, what: string, why: string, write: string): void {
    this.problems.push({ input, what, why, write })
  }
  /** The text of an input, its default when it is empty; an unexpanded `${{ }}` default counts as absent. */
  text(name: string): string {
    const given = (this.#raw[name] ?? '').trim()
    const preset = fieldByName.get(name)?.default ?? ''
    return given !== '' ? given : preset.startsWith('${{') ? '' : preset
  }
  given(name: string): boolean {
    return (this.#raw[name] ?? '').trim() !== ''
  }
  optional(name: string): string | undefined {
    return this.text(name) || undefined
  }
  read<T>(name: string, parse: (text: string) => values.Parsed<T>, fallback: T): T {
    const text = this.text(name)
    if (text === '') return fallback
    const parsed = parse(text)
    if ('value' in parsed) return parsed.value
    this.problem(name, `Input \`${name}\` is ${shown(text)}.`, parsed.why, parsed.write)
    return fallback
  }
  oneOf<T extends string>(name: string): T {
    const field = fieldByName.get(name) as Field
    const known = (field.kind as { values: readonly string[] }).values
    const text = this.text(name)
    if (!known.includes(text)) {
      const near = nearest(text, known)
      this.problem(
        name,
        `Input \`${name}\` is ${shown(text)}.`,
        `It is not one of its values${near ? `; did you mean ${near}?` : '.'}`,
        known.join(' or '),
      )
    }
    return text as T
  }
  secret(name: string): string | undefined {
    const text = this.optional(name)
    if (text !== undefined)
      this.secrets.push(text, ...text.split('\n').filter(l => l.length >= 8), Buffer.from(text).toString('base64'))
    return text
  }
}
