// Masking something shorter would hide ordinary words all over the log.
const shortest = 4
const shortestLine = 8

const isMap = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v)

const lines = (text: string): string[] =>
  text.includes('\n')
    ? text
        .split('\n')
        .map(l => l.trim())
        .filter(l => l.length >= shortestLine && !/^-----(BEGIN|END) /.test(l))
    : []

/** A secret in every form in which a tool may print it: whole, line by line, as base64, and decoded from base64. */
export function secretForms(secret: string): string[] {
  const trimmed = secret.trim()
  const all = [secret, trimmed, ...lines(trimmed)]
  if (trimmed.length >= shortestLine)
    all.push(Buffer.from(trimmed).toString('base64'), Buffer.from(trimmed).toString('base64url'))
  const compact = trimmed.replace(/\s+/g, '')
  if (/^[A-Za-z0-9+/]{16,}={0,2}$/.test(compact)) {
    const decoded = Buffer.from(compact, 'base64').toString('utf8')
    if (!decoded.includes('\ufffd') && !decoded.includes('apiVersion')) all.push(decoded, ...lines(decoded))
  }
  return all.filter(form => form.length >= shortest)
}

/** What a kubeconfig's user may hold; `auth-provider` and `exec` are walked. */
const userKeys = ['token', 'password', 'client-key-data', 'client-certificate-data']

/**
 * Every secret in a kubeconfig, of all its users, in every form, longest first. Works on what does not parse as well: a
 * later failure must not show that either.
 * @param raw the text as it was given, perhaps base64; `yaml` the same as YAML; `config` what it parsed to, if it did.
 */
export function kubeconfigSecrets(raw: string, yaml: string, config: unknown): string[] {
  // Not the YAML as a whole: a runner masks a text of several lines line by line, and `kind: Config` is no secret.
  const found: string[] = raw === yaml ? [] : [raw.trim()]
  const add = (value: unknown) => {
    if (typeof value === 'string' || typeof value === 'number') found.push(String(value))
  }
  for (const item of isMap(config) && Array.isArray(config.users) ? config.users : []) {
    const user = isMap(item) && isMap(item.user) ? item.user : {}
    for (const key of userKeys) add(user[key])
    const { exec } = user
    for (const variable of isMap(exec) && Array.isArray(exec.env) ? exec.env : [])
      if (isMap(variable)) add(variable.value)
    const provider = user['auth-provider']
    for (const [key, value] of Object.entries(isMap(provider) && isMap(provider.config) ? provider.config : {})) {
      if (/token|secret/.test(key)) add(value)
    }
  }
  for (const m of yaml.matchAll(
    /(?:token|password|secret|client-key-data|client-certificate-data)"?\s*:\s*["']?([^\s"',}]+)/gi,
  ))
    add(m[1])
  const values = found.flatMap(secretForms)
  const carrying = lines(yaml).filter(line =>
    values.some(value => value.length >= shortestLine && line.includes(value)),
  )
  return [...new Set([...values, ...carrying])].sort((a, b) => b.length - a.length)
}
