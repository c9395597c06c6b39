import { readFile } from 'node:fs/promises'
import { UserError } from './errors.ts'
import { fieldByName, fields, type Mode, modes, outputs } from './inputs/fields.ts'
import type { Problem } from './inputs/types.ts'

export type { KubeconfigSource } from './inputs/kubeconfig.ts'
export { parseInputs } from './inputs/parse.ts'
export type {
  Inputs,
  ParseResult,
  Problem,
  RunInputs,
  StandupInputs,
  TeardownInputs,
} from './inputs/types.ts'
export type { EndpointInput } from './inputs/values.ts'

type Env = Readonly<Record<string, string | undefined>>

/** What the runner hands over: `INPUT_<NAME>`, upper case, dashes kept. Unknown names come back too, to be refused. */
export function inputsFromEnv(env: Env): Record<string, string> {
  const raw: Record<string, string> = {}
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith('INPUT_') && value !== undefined && value !== '')
      raw[name.slice('INPUT_'.length).toLowerCase()] = value
  }
  return raw
}

/** Secrets of the command line: from these variables, or from a file, never from an argument that `ps` shows. */
const secretSources: Readonly<Record<string, string>> = { 'hf-token': 'HF_TOKEN', 'github-token': 'GITHUB_TOKEN' }

/**
 * `<mode> --input value`, `--input=value`, and bare `--flag` for booleans.
 * @throws UserError INPUT for an argument that is none of these, or a secret in the arguments.
 */
export async function inputsFromArgv(argv: readonly string[], env: Env): Promise<Record<string, string>> {
  const raw: Record<string, string> = {}
  const rest = [...argv]
  if (rest[0] !== undefined && !rest[0].startsWith('-')) raw.mode = rest.shift()!
  let kubeconfigFile = env.KUBECONFIG?.split(':')[0]
  while (rest.length > 0) {
    const word = rest.shift()!
    const match = /^--([a-z][a-z-]*)(?:=([\s\S]*))?$/.exec(word)
    if (!match) throw argument(word, 'Arguments are --input value or --input=value, after the mode.')
    const name = match[1]!
    const field = fieldByName.get(name)
    if (field?.kind.kind === 'secret' || (name === 'kubeconfig' && (match[2] ?? rest[0]) !== 'in-cluster')) {
      throw new UserError('INPUT', `The secret --${name} was given as an argument.`, {
        why: 'Every user of the machine can read the arguments of a process.',
        next:
          name === 'kubeconfig'
            ? 'Set KUBECONFIG, or write --kubeconfig-file PATH.'
            : `Set the environment variable ${secretSources[name]}.`,
      })
    }
    const isFlag =
      field?.kind.kind === 'boolean' && match[2] === undefined && (rest[0] === undefined || rest[0].startsWith('--'))
    const value = match[2] ?? (isFlag ? 'true' : rest.shift())
    if (value === undefined) throw argument(word, 'It needs a value.')
    if (name === 'kubeconfig-file') kubeconfigFile = value
    else raw[name] = value
  }
  for (const [name, variable] of Object.entries(secretSources)) {
    const value = env[variable]
    if (value && raw.mode !== undefined && fieldByName.get(name)?.modes.includes(raw.mode as Mode)) raw[name] = value
  }
  if (raw.kubeconfig === undefined && kubeconfigFile !== undefined && kubeconfigFile !== '') {
    try {
      raw.kubeconfig = await readFile(kubeconfigFile, 'utf8')
    } catch (cause) {
      throw new UserError('INPUT', `The kubeconfig file ${kubeconfigFile} cannot be read.`, {
        why: (cause as Error).message,
        next: 'Set KUBECONFIG or --kubeconfig-file to a file that exists.',
        cause,
      })
    }
  }
  return raw
}

const argument = (word: string, why: string) =>
  new UserError('INPUT', `The argument ${JSON.stringify(word.slice(0, 80))} cannot be read.`, {
    why,
    next: 'See `node dist/index.js --help`.',
  })

/** All problems of a call in one failure, each with what, why and what to write instead. */
export function problemsToError(problems: readonly Problem[]): UserError {
  const lines = problems.map(p => `${p.what} ${p.why} Write ${p.write}.`)
  return new UserError('INPUT', problems.length === 1 ? problems[0]!.what : `${problems.length} inputs are wrong.`, {
    why: problems.length === 1 ? problems[0]!.why : lines.map((l, i) => `(${i + 1}) ${l}`).join(' '),
    next: problems.length === 1 ? `Write ${problems[0]!.write}.` : 'Correct all of them; nothing was changed.',
    evidence: lines,
  })
}

/** Text of `--help`, for all modes or one, from the table of inputs. */
export function helpText(mode: string | undefined): string {
  if (mode === undefined || !modes.includes(mode as Mode)) {
    return `bench-action: benchmarks llm-d stacks on a Kubernetes cluster

usage: node dist/index.js <mode> [--<input> <value> ...]

  standup    bring a model stack up and prove that it serves
  run        load it with guidellm and collect the results
  teardown   remove it and prove that nothing is left

  <mode> --help   inputs of a mode
  --version

Secrets come from KUBECONFIG or --kubeconfig-file, HF_TOKEN, GITHUB_TOKEN.
`
  }
  const rows = fields.filter(f => f.modes.includes(mode as Mode) && f.name !== 'mode' && !f.hidden)
  const width = Math.max(...rows.map(f => f.name.length)) + 4
  const line = (f: (typeof rows)[number]) => {
    const preset = f.default !== '' && !f.default.startsWith('${{') ? ` [${f.default}]` : ''
    return `  ${`--${f.name}`.padEnd(width)}${f.help}${preset}${f.required ? ' (required)' : ''}`
  }
  const outs = outputs.filter(o => o.modes.includes(mode as Mode)).map(o => `  ${o.name.padEnd(width)}${o.help}`)
  return `usage: node dist/index.js ${mode} [--<input> <value> ...]\n\ninputs:\n${rows.map(line).join('\n')}\n\noutputs:\n${outs.join('\n')}\n`
}
