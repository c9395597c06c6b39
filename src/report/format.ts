/** A dash: there is no data. Never 0, which would read as the best figure ever. */
export const noData = '–'

const thousands = (whole: string): string => whole.replace(/\B(?=(?:\d{3})+$)/g, ',')

/** Whole numbers in full, with thousands separators. */
export const count = (value: number | null): string => (value === null ? noData : thousands(String(Math.round(value))))

/** Three significant digits, because more was not measured; no exponent, thousands separators. Whole numbers stay whole. */
export function figure(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return noData
  if (value < 0) return `−${figure(-value)}`
  if (Number.isInteger(value) && value < 1000) return String(value)
  const rounded = Number(value.toPrecision(3))
  if (rounded >= 100) return thousands(String(rounded))
  return rounded < 0.001 ? '<0.001' : rounded.toPrecision(3)
}

/** A share in percent: `90.8 %`. Short of all of it is never shown as 100 %. */
export function share(part: number, whole: number): string {
  const percent = (100 * part) / whole
  return `${figure(part < whole ? Math.min(percent, 99.9) : percent)} %`
}

/** A rate or another number that somebody wrote: as short as it is, at most three significant digits. */
export const written = (value: number): string => (value >= 1000 ? figure(value) : String(Number(value.toPrecision(3))))

/** `8.4 s`, `6 m 12 s`, `1 h 05 m`. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${written(seconds)} s`
  const whole = Math.round(seconds)
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, '0')} s`
  const minutes = Math.round(whole / 60)
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} m`
}

/** `1 repeat`, `4 repeats`. */
export const plural = (n: number, noun: string): string => `${count(n)} ${noun}${n === 1 ? '' : 's'}`

/** A Markdown table of finished cells; the first column is text, the others are numbers. */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  align: 'numbers' | 'text' = 'numbers',
): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const rule = header.map((_cell, i) => (i === 0 || align === 'text' ? ':--' : '--:'))
  return [line(header), `|${rule.join('|')}|`, ...rows.map(line)].join('\n')
}

export const fold = (summary: string, body: string): string =>
  `<details><summary>${summary}</summary>\n\n${body}\n</details>`

/** A part that a comment folds and a job summary, which has the room, shows below a heading. */
export const part = (title: string, body: string, unfolded: boolean): string =>
  unfolded ? `#### ${title}\n\n${body}` : fold(title, body)
