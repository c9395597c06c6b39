import type { Failure } from '../errors.ts'
import { md, mdBlock } from './escape.ts'
import { fold, plural } from './format.ts'
import { evidenceBytes, evidenceLines } from './limits.ts'

type Shown = Pick<Failure, 'code' | 'what' | 'why' | 'next'>

/**
 * What, why and what to do next: the sentences of a failure, one paragraph. `brief` where several legs share a comment;
 * `told` where the headline has said what already.
 */
export function failureText(
  failure: Shown,
  options: { readonly brief?: boolean; readonly told?: boolean } = {},
): string {
  const [what, why, next] = options.brief ? [300, 300, 200] : [600, 900, 600]
  const first = options.told ? '' : `\`${failure.code}\` ${md(failure.what, what)} `
  return `${first}**Why:** ${md(failure.why, why)} **Next:** ${md(failure.next, next)}`
}

/** The raw lines that prove a failure, folded, in a block that they cannot leave; undefined without any. */
export function failureEvidence(failure: Pick<Failure, 'evidence'>): string | undefined {
  const { evidence } = failure
  if (evidence.length === 0) return undefined
  return fold(
    `Evidence: ${plural(evidence.length, 'line')} of events and logs`,
    mdBlock(evidence, { lines: evidenceLines, bytes: evidenceBytes }),
  )
}
