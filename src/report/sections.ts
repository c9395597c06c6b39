/** Order in which parts are left out of a comment that is too long. */
export const shed = {
  perRepeat: 1,
  allRates: 2,
  allFigures: 3,
  measured: 4,
  overTime: 5,
  evidence: 6,
  lists: 7,
  figures: 8,
} as const

/** A part of a comment. Those with the smallest `shed` go first when the whole is too long; without it a part stays. */
export interface Section {
  readonly text: string
  readonly shed?: number
  /** Named in the line that says what was left out. */
  readonly name?: string
}

const bytes = (text: string): number => Buffer.byteLength(text, 'utf8')
const join = (sections: readonly Section[]): string => `${sections.map(section => section.text).join('\n\n')}\n`

/**
 * Puts sections together within a number of bytes. What does not fit is left out in the order of `shed`, last first
 * among equals, and a line says so; what must stay is cut at the end of a line if there is no other way.
 */
export function assemble(sections: readonly Section[], limit: number): string {
  let kept = sections.filter(section => section.text !== '')
  const left: string[] = []
  const note = (): Section[] =>
    left.length === 0
      ? []
      : [
          {
            text: `<sub>Left out because a comment is limited to ${Math.floor(limit / 1000)} kB: ${[...new Set(left)].join(', ')}. All of it is in the artifacts.</sub>`,
          },
        ]
  while (bytes(join([...kept, ...note()])) > limit) {
    const next = kept
      .filter(section => section.shed !== undefined)
      .sort((a, b) => a.shed! - b.shed! || kept.indexOf(b) - kept.indexOf(a))[0]
    if (next === undefined) break
    kept = kept.filter(section => section !== next)
    left.push(next.name ?? 'details')
  }
  const text = join([...kept, ...note()])
  if (bytes(text) <= limit) return text
  const lines = text.split('\n')
  while (lines.length > 1 && bytes(`${lines.join('\n')}\n…\n`) > limit) lines.pop()
  return `${lines.join('\n')}\n…\n`
}
