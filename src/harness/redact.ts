/** Keys whose value is a credential, wherever they occur in a report. `max_tokens` and the like are counts. */
const secretKey =
  /^(?:.*[_-])?(?:api[_-]?key|authorization|password|passwd|secret|bearer|token|access[_-]?key|cookie)$/i
const inText = /((?:api[_-]?key|authorization|password|secret|token)['"]?\s*[:=]\s*)(?:'[^']*'|"[^"]*")/gi
const maxDepth = 64

/**
 * Replaces credentials in a report, in place, and returns it: 0.5 and 0.6 write `backend_kwargs` as it was given,
 * `api_key` included, also as text inside descriptions of the backend. Request records are already reduced and skipped.
 */
export function redactKeys(value: unknown, depth = 0): unknown {
  if (typeof value === 'string')
    return value.includes('=') || value.includes(':') ? value.replace(inText, '$1"REDACTED"') : value
  if (typeof value !== 'object' || value === null) return value
  if (depth > maxDepth) return null
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = redactKeys(value[i], depth + 1)
    return value
  }
  const map = value as Record<string, unknown>
  for (const key of Object.keys(map)) {
    if (key === 'requests' && isRequestLists(map[key])) continue
    if (secretKey.test(key) && typeof map[key] === 'string') map[key] = 'REDACTED'
    else if (secretKey.test(key) && typeof map[key] === 'object' && map[key] !== null) map[key] = 'REDACTED'
    else map[key] = redactKeys(map[key], depth + 1)
  }
  return map
}

const isRequestLists = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'successful' in value && Array.isArray(value.successful)
