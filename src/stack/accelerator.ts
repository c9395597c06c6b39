/**
 * Names that WVA knows, as they occur in node labels. H200 before H100 and G2 last: the first that occurs counts, and
 * `g2` is also the name of a machine family with other GPUs.
 */
const known = ['H200', 'H100', 'A100', 'L40S', 'MI300X', 'G2']

/**
 * Value of `inference.optimization/acceleratorName` for the GPU label of a node. WVA skips a variant without the label or
 * with less than two characters; in its default mode the value itself decides nothing. An unknown GPU is called by its own
 * label, as far as a label value may hold it.
 */
export function acceleratorName(nodeLabel: string | undefined): string {
  const words = (nodeLabel ?? '').toUpperCase().split(/[^A-Z0-9]+/)
  const found = known.find(name =>
    words.some(word => (name === 'G2' ? /^(G2|GAUDI2)$/.test(word) : word.startsWith(name))),
  )
  if (found !== undefined) return found
  const own = (nodeLabel ?? '').replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 63)
  const trimmed = own.replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '')
  return trimmed.length >= 2 ? trimmed : 'unknown'
}
