import { durationMs } from './durations.ts'
import { unescapeLabel } from './exposition.ts'

export interface Matcher {
  readonly label: string
  readonly op: '=' | '!=' | '=~' | '!~'
  readonly value: string
}
export interface Selector {
  readonly type: 'selector'
  /** Undefined when only matchers name it, as `{__name__="x"}`. */
  readonly name: string | undefined
  readonly matchers: readonly Matcher[]
  readonly rangeMs?: number
}
export const aggregations = ['sum', 'max', 'min', 'avg', 'count'] as const
export const rangeFunctions = ['max_over_time', 'min_over_time', 'avg_over_time', 'rate'] as const

export type Expression =
  | Selector
  | { readonly type: 'over time'; readonly fn: (typeof rangeFunctions)[number]; readonly of: Selector }
  | {
      readonly type: 'aggregation'
      readonly op: (typeof aggregations)[number]
      readonly by: readonly string[]
      readonly of: Expression
    }
  | { readonly type: 'quotient'; readonly left: Expression; readonly right: Expression }

/** A query that this subset of PromQL does not have, or that is none. */
export class QueryError extends Error {}

const token = /\s*(?:([a-zA-Z_:][\w:]*)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|(\[[^\]]*\])|(=~|!~|!=|[={}(),/]))/y

interface Token {
  readonly kind: 'word' | 'text' | 'range' | 'sign'
  readonly text: string
}

function tokens(query: string): Token[] {
  const found: Token[] = []
  const end = query.trimEnd().length
  token.lastIndex = 0
  while (token.lastIndex < end) {
    const at = token.lastIndex
    const match = token.exec(query)
    if (!match) throw new QueryError(`parse error: unexpected "${query.slice(at).trim().slice(0, 20)}"`)
    const [, word, double, single, range, sign] = match
    if (word !== undefined) found.push({ kind: 'word', text: word })
    else if (range !== undefined) found.push({ kind: 'range', text: range.slice(1, -1).trim() })
    else if (sign !== undefined) found.push({ kind: 'sign', text: sign })
    else found.push({ kind: 'text', text: unescapeLabel((double ?? single)!) })
  }
  return found
}

/**
 * Reads the part of PromQL that the autoscaler and the metrics adapter use: selectors, `*_over_time` and `rate` over a
 * range, aggregations with `by` before or behind the parentheses, and the quotient of two vectors.
 * @throws QueryError
 */
export function parseQuery(query: string): Expression {
  const parser = new Parser(tokens(query))
  const expression = parser.quotient()
  parser.end()
  if (expression.type === 'selector' && expression.rangeMs !== undefined)
    throw new QueryError('invalid expression type "range vector" for instant query')
  return expression
}

function checkPattern(text: string): void {
  try {
    new RegExp(text)
  } catch (error) {
    throw new QueryError(`parse error: ${(error as Error).message}`)
  }
}

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(all: readonly Token[]) {
    this.#tokens = all
  }

  end(): void {
    if (this.#at < this.#tokens.length) throw this.#unexpected()
  }

  quotient(): Expression {
    let left = this.#operand()
    while (this.#takes('/')) left = { type: 'quotient', left, right: this.#operand() }
    return left
  }

  #operand(): Expression {
    if (this.#takes('(')) {
      const inner = this.quotient()
      this.#expect(')')
      return inner
    }
    const word = this.#next
    const behind = this.#tokens[this.#at + 1]?.text
    const aggregation = aggregations.find(op => op === word?.text)
    if (aggregation && (behind === '(' || behind === 'by')) return this.#aggregation(aggregation)
    const fn = rangeFunctions.find(name => name === word?.text)
    if (fn && behind === '(') return this.#overTime(fn)
    return this.#selector()
  }

  #aggregation(op: (typeof aggregations)[number]): Expression {
    this.#at++
    let by = this.#by()
    this.#expect('(')
    const of = this.quotient()
    this.#expect(')')
    by ??= this.#by()
    return { type: 'aggregation', op, by: by ?? [], of }
  }

  #by(): string[] | undefined {
    if (this.#next?.text !== 'by' || this.#next.kind !== 'word') return undefined
    this.#at++
    this.#expect('(')
    const names: string[] = []
    while (!this.#takes(')')) {
      if (names.length > 0) this.#expect(',')
      names.push(this.#word())
    }
    return names
  }

  #overTime(fn: (typeof rangeFunctions)[number]): Expression {
    this.#at++
    this.#expect('(')
    const of = this.#selector()
    if (of.rangeMs === undefined) throw new QueryError(`expected type range vector in call to function "${fn}"`)
    this.#expect(')')
    return { type: 'over time', fn, of }
  }

  #selector(): Selector {
    const name = this.#next?.kind === 'word' ? this.#word() : undefined
    const matchers: Matcher[] = []
    if (name === undefined || this.#next?.text === '{') {
      this.#expect('{')
      while (!this.#takes('}')) {
        if (matchers.length > 0) this.#expect(',')
        // A trailing comma is allowed, and templates that end in one produce it.
        if (this.#takes('}')) break
        matchers.push(this.#matcher())
      }
    }
    const range = this.#next?.kind === 'range' ? this.#next.text : undefined
    if (range === undefined) return { type: 'selector', name, matchers }
    this.#at++
    try {
      return { type: 'selector', name, matchers, rangeMs: durationMs(range) }
    } catch (error) {
      throw new QueryError(`parse error: ${(error as Error).message}`)
    }
  }

  #matcher(): Matcher {
    const label = this.#word()
    const op = this.#next?.text
    if (op !== '=' && op !== '!=' && op !== '=~' && op !== '!~') throw this.#unexpected()
    this.#at++
    const value = this.#next
    if (value?.kind !== 'text') throw this.#unexpected()
    this.#at++
    if (op.endsWith('~')) checkPattern(value.text)
    return { label, op, value: value.text }
  }

  #word(): string {
    const word = this.#next
    if (word?.kind !== 'word') throw this.#unexpected()
    this.#at++
    return word.text
  }
  #takes(sign: string): boolean {
    if (this.#next?.kind !== 'sign' || this.#next.text !== sign) return false
    this.#at++
    return true
  }
  #expect(sign: string): void {
    if (!this.#takes(sign)) throw this.#unexpected()
  }
  get #next(): Token | undefined {
    return this.#tokens[this.#at]
  }
  #unexpected(): QueryError {
    return new QueryError(`parse error: unexpected ${this.#next ? `"${this.#next.text}"` : 'end of input'}`)
  }
}
