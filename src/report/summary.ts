import { type ReportInput, reportSections } from './comment.ts'
import { summaryBytes } from './limits.ts'
import { assemble } from './sections.ts'

/** The job summary: the comment's parts with every repeat shown, and room for all of it. */
export const renderSummary = (input: ReportInput): string =>
  assemble(reportSections(input, { unfolded: true }), summaryBytes)
