/** Stands between the parts of what GitHub would turn into a link, a mention or a reference; it has no width. */
const seam = '\u200b'

/** Characters that mean something in GitHub's Markdown, or in HTML; in text an entity never does. */
const special = /[&<>|`*_~[\]\\$"]/g

/** C0 and C1 controls but for line ends and tab, which become spaces elsewhere. */
const control = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/g
/** What reorders or hides text: bidi marks, zero width, tags, variation selectors, interlinear annotation. */
const invisible = /[\p{Cf}\p{Default_Ignorable_Code_Point}\ufff9-\ufffc]/gu
/** ANSI colours and other terminal sequences, which logs are full of. */
const ansi = /\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g

/** Foreign text without what would reorder, hide or colour it; line ends stay. */
export const clean = (text: string): string =>
  text
    .replace(ansi, '')
    .replace(/\r\n?|[\u2028\u2029\u0085]/g, '\n')
    .replace(control, '')
    .replace(invisible, '')
    .toWellFormed()

const shorten = (text: string, limit: number): string => {
  if (text.length <= limit) return text
  const cut = text.slice(0, limit - 1)
  // Not between the halves of a surrogate pair.
  return `${/[\ud800-\udbff]$/.test(cut) ? cut.slice(0, -1) : cut}…`
}

/**
 * THE way for foreign text into Markdown: one line that shows the text and does nothing, in a paragraph, a table cell, a
 * list item or an HTML element. No emphasis, link, image, HTML, comment end, mention, reference, automatic link, block.
 * @param limit characters that are kept at most
 */
export function md(text: string, limit = 500): string {
  const line = shorten(clean(text).replace(/\s+/g, ' ').trim(), limit)
  // Seams first, on the text itself: GitHub looks for mentions and references after entities are decoded.
  return line
    .replace(/@/g, `@${seam}`)
    .replace(/#(?=\d)/g, `#${seam}`)
    .replace(/\bGH-(?=\d)/gi, match => `${match}${seam}`)
    .replace(/:\/\//g, `:${seam}//`)
    .replace(/\b(www|mailto|xmpp)(?=[.:])/gi, match => `${match}${seam}`)
    .replace(special, entity)
    .replace(/^[#+=-]/, entity)
    .replace(/^(\d{1,9})([.)])/, (_all, number: string, end: string) => number + entity(end))
}

const entity = (c: string): string => `&#${c.codePointAt(0)};`

/**
 * A code span around foreign text, for what is copied: image references, names, object lists. A pipe, which would end a
 * table cell even inside a code span, is shown as its full-width twin.
 */
export function mdCode(text: string, limit = 300): string {
  const line = shorten(clean(text).replace(/\s+/g, ' ').trim(), limit).replaceAll('|', '\uff5c')
  if (line === '') return '–'
  const longest = Math.max(0, ...[...line.matchAll(/`+/g)].map(match => match[0].length))
  const fence = '`'.repeat(longest + 1)
  return longest === 0 ? `${fence}${line}${fence}` : `${fence} ${line} ${fence}`
}

/** A fenced block around foreign lines; nothing in it can end it. The last lines are kept, because they say the most. */
export function mdBlock(lines: readonly string[], limits: { readonly lines: number; readonly bytes: number }): string {
  const all = lines.flatMap(line => clean(line).replaceAll('\t', '  ').split('\n')).map(line => shorten(line, 500))
  const kept: string[] = []
  let bytes = 0
  for (const line of all.slice(-limits.lines).reverse()) {
    bytes += Buffer.byteLength(line) + 1
    if (bytes > limits.bytes) break
    kept.unshift(line)
  }
  const left = all.length - kept.length
  const text = [...(left > 0 ? [`(${left} earlier lines left out)`] : []), ...kept].join('\n')
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(match => match[0].length))
  const fence = '`'.repeat(longest + 1)
  return `${fence}text\n${text}\n${fence}`
}

/** A link with our own text; only plain https addresses become one. */
export const mdLink = (text: string, address: string | undefined): string | undefined =>
  address !== undefined &&
  /^https:\/\/[A-Za-z0-9.-]+(?::\d+)?(?:\/[A-Za-z0-9._~/%@:+-]*)?(?:\?[A-Za-z0-9._~/%=&+-]*)?$/.test(address) &&
  address.length <= 500
    ? `[${text}](${address})`
    : undefined
