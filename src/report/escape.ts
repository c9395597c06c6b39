/** Stands between the parts of what GitHub would turn into a link, a mention or a reference; it has no width. */
const seam = '\u200b'

/** Characters that mean something in GitHub's Markdown, or in HTML; in text an entity never does. */
const special = /[&<>|`*_~[\]\\$"]/g

/** C0 and C1 controls but for line ends and tab, which become spaces elsewhere. */
// biome-ignore lint/complexity/useRegexLiterals: a literal would have to hold the characters themselves
const control = new RegExp('[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]', 'g')
/** Characters that reorder or hide text: bidi marks, zero width, tags, variation selectors, object replacement. */
const invisible =
  /[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc]|\udb40[\udc00-\udfff]/g
/** ANSI colours and other terminal sequences, which logs are full of. */
// biome-ignore lint/complexity/useRegexLiterals: see above
const ansi = new RegExp('\\u001b(?:\\[[0-9;?]*[ -/]*[@-~]|\\][^\\u0007\\u001b]*(?:\\u0007|\\u001b\\\\)|[@-Z\\\\-_])', 'g')

/** Foreign text without what would reorder, hide or colour it; line ends stay. */
export const clean = (text: string): string =>
  text.replace(ansi, '').replace(/\r\n?|[\u2028\u2029\u0085]/g, '\n').replace(control, '').replace(invisible, '').toWellFormed()

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
  return (
    line
      .replace(special, c => `&#${c.codePointAt(0)};`)
      // At the start of a line these make a heading, a list, a rule or a quote.
      .replace(/^([#+=-])|^(\d{1,9})([.)])/, (_all, mark: string | undefined, number: string, end: string) =>
        mark === undefined ? `${number}&#${end.codePointAt(0)};` : `&#${mark.codePointAt(0)};`,
      )
      .replace(/@/g, `@${seam}`)
      // #12, GH-12, owner/repo#12; not the numeric entities just made.
      .replace(/(?<!&)#(?=\d)/g, `#${seam}`)
      .replace(/\bGH-(?=\d)/gi, match => `${match}${seam}`)
      .replace(/:\/\//g, `:${seam}//`)
      .replace(/\b(www|mailto|xmpp)(?=[.:])/gi, match => `${match}${seam}`)
  )
}

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
  address !== undefined && /^https:\/\/[A-Za-z0-9.-]+(?::\d+)?(?:\/[A-Za-z0-9._~/%@:+-]*)?(?:\?[A-Za-z0-9._~/%=&+-]*)?$/.test(address) && address.length <= 500
    ? `[${text}](${address})`
    : undefined
