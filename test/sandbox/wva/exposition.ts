export type Labels = Readonly<Record<string, string>>

/** One line of a metrics page. */
export interface Line {
  readonly name: string
  readonly labels: Labels
  readonly value: number
}

const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?$/
const pair = /\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)/y

export const unescapeLabel = (text: string): string =>
  text.replace(/\\(.)/g, (_whole, char: string) => (char === 'n' ? '\n' : char))

/** A number as the text format and the query API spell it: `NaN`, `+Inf` and `-Inf` besides decimals. */
export function numberOf(text: string): number {
  if (/^[+-]?inf$/i.test(text)) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  if (/^nan$/i.test(text)) return Number.NaN
  if (text.trim() === '' || Number.isNaN(Number(text))) throw new Error(`not a number: "${text}"`)
  return Number(text)
}
export const numberText = (value: number): string =>
  Number.isFinite(value) || Number.isNaN(value) ? String(value) : value > 0 ? '+Inf' : '-Inf'

/** The samples of a metrics page in the text format. @throws naming the line that is not one, as a scrape then fails whole */
export function parseExposition(page: string): Line[] {
  const lines: Line[] = []
  for (const line of page.split('\n')) {
    const text = line.trim()
    if (text === '' || text.startsWith('#')) continue
    const match = sample.exec(text)
    if (!match) throw new Error(`not a sample: ${text.slice(0, 100)}`)
    lines.push({ name: match[1]!, labels: parseLabels(match[2] ?? ''), value: numberOf(match[3]!) })
  }
  return lines
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  pair.lastIndex = 0
  while (pair.lastIndex < text.trimEnd().length) {
    const match = pair.exec(text)
    if (!match) throw new Error(`not a label set: {${text.slice(0, 100)}}`)
    labels[match[1]!] = unescapeLabel(match[2]!)
  }
  return labels
}

/** A label set as the text format and a selector write it, without braces. */
export const labelsText = (labels: Labels): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join(',')
