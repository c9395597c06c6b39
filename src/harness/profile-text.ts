import { UserError } from '../errors.ts'

/** What may stand in a YAML scalar without quotes whatever is around it: addresses, model ids. */
const plain = /^[A-Za-z0-9][A-Za-z0-9._:/@+~%[\]-]*$/

/**
 * Fills the placeholders of llm-d-benchmark's profile templates and drops comments. `REPLACE_ENV_X` becomes the value of
 * X, `REPLACE_ENV_X++++default=v` becomes v when X is absent or empty, `REPLACE_COMMA` a comma.
 * @throws UserError INPUT naming a placeholder without a value, or a value that would change the structure of the YAML
 */
export function fillPlaceholders(template: string, values: Readonly<Record<string, string>>, name: string): string {
  return template
    .split(/\r?\n/)
    .map(line => withoutComment(line).trimEnd())
    .filter(line => line !== '')
    .join('\n')
    .replace(
      /REPLACE_ENV_([A-Za-z0-9_]+)(?:\+\+\+\+default=([^\s\]},'"]*))?/g,
      (_all, variable: string, preset: string | undefined) => {
        const value = Object.hasOwn(values, variable) ? values[variable] : undefined
        if (value !== undefined && value !== '') {
          if (plain.test(value)) return value
          throw new UserError(
            'INPUT',
            `The value of ${variable} cannot be written into the workload profile ${JSON.stringify(name)}.`,
            {
              why: `${JSON.stringify(value.slice(0, 200))} holds characters that have a meaning in YAML.`,
              next: 'Give an endpoint and a model of letters, digits and . _ : / @ + ~ % -.',
            },
          )
        }
        if (preset !== undefined && preset !== '') return preset
        throw new UserError(
          'INPUT',
          `The workload profile ${JSON.stringify(name)} has the unresolved placeholder REPLACE_ENV_${variable}.`,
          {
            why: `Only ${Object.keys(values).join(' and ')} are filled in.`,
            next: `Write a value in its place, or give it a default: REPLACE_ENV_${variable}++++default=VALUE.`,
          },
        )
      },
    )
    .replaceAll('REPLACE_COMMA', ',')
}

/** Cuts a line at a `#` that begins a comment: at the start or after white space, outside quotes. */
function withoutComment(line: string): string {
  let quote = ''
  for (let i = 0; i < line.length; i++) {
    const c = line[i]!
    if (quote !== '') {
      if (c === '\\' && quote === '"') i += 1
      else if (c === quote) quote = ''
    } else if ((c === '"' || c === "'") && (i === 0 || /[\s[{,:]/.test(line[i - 1]!))) quote = c
    else if (c === '#' && (i === 0 || /\s/.test(line[i - 1]!))) return line.slice(0, i)
  }
  return line
}
