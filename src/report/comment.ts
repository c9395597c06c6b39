import type { LegDocument } from '../results/schema.ts'
import { comparisonSections } from './comparison-sections.ts'
import { md, mdLink } from './escape.ts'
import { count } from './format.ts'
import { headline, toldInHeadline } from './headline.ts'
import { legSections } from './leg-sections.ts'
import { viewLegs } from './legs.ts'
import { commentBytes, shownLegs } from './limits.ts'
import { assemble, type Section } from './sections.ts'

export interface ReportInput {
  readonly key: string
  /** Any stage, any attempt, any order; the newest of each leg and stage is shown. */
  readonly legs: readonly LegDocument[]
  /** Legs that the matrix will have; more than there are means that the benchmark is still running. */
  readonly expectedLegs?: number
  readonly links: {
    /** The workflow run. */
    readonly run?: string
    /** Leg to the artifact with its files. */
    readonly results?: Readonly<Record<string, string>>
  }
}

/** First line of the comment, by which it is found again. A key holds letters, digits, dots, dashes and underscores. */
export const marker = (key: string): string => `<!-- llm-d-bench key="${key.replace(/[^A-Za-z0-9._-]/g, '-')}" v1 -->`

/** The pull request comment: a pure function of the documents, so that whoever posts last posts the same text. */
export function renderComment(input: ReportInput): string {
  const sections = reportSections(input, { unfolded: false })
  return assemble([{ text: `${marker(input.key)}\n${sections[0]?.text ?? ''}` }, ...sections.slice(1)], commentBytes)
}

/** What comment and job summary have in common; the first section is the headline. */
export function reportSections(input: ReportInput, options: { readonly unfolded: boolean }): Section[] {
  const views = viewLegs(input.legs)
  const expected = Math.max(input.expectedLegs ?? 0, views.length, 1)
  const rest = views.length - shownLegs
  const shown = {
    views: views.slice(0, shownLegs),
    told: toldInHeadline(views, expected),
    unfolded: options.unfolded,
  }
  return [
    { text: `### ${headline(views, expected)}` },
    ...(views.some(view => view.simulated)
      ? [
          {
            text: '> [!WARNING]\n> **SIMULATED** cluster: no GPU and no model was used. The figures say nothing about real hardware.',
          },
        ]
      : []),
    ...(views.length === 1 ? legSections(views[0]!, shown) : comparisonSections(shown)),
    ...(rest > 0 ? [{ text: `… and ${count(rest)} more legs, in the artifacts.` }] : []),
    { text: footer(input) },
  ]
}

function footer({ links, legs }: ReportInput): string {
  const commits = [
    ...new Set(legs.map(leg => leg.run.sha).filter(sha => sha !== undefined && /^[0-9a-f]{7,64}$/.test(sha))),
  ].sort()
  const files = Object.entries(links.results ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, shownLegs)
    .map(([leg, address]) => mdLink(`files of ${md(leg, 80)}`, address))
  const parts = [
    commits.length === 0
      ? undefined
      : `Commit ${commits
          .slice(0, 4)
          .map(sha => `\`${sha!.slice(0, 7)}\``)
          .join(', ')}`,
    mdLink('workflow run', links.run),
    ...files,
  ].filter(part => part !== undefined)
  return parts.length === 0 ? '' : `<sub>${parts.join(' · ')}</sub>`
}
