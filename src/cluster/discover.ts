import type { Log } from '../log.ts'
import type { Review } from '../platform/rbac.ts'
import { type Api, pause } from './api.ts'
import { ApiError, explainApiError, isForbidden, isNotFound } from './api-error.ts'

export interface ApiGroupVersion {
  readonly group: string
  readonly version: string
  readonly kinds: readonly string[]
}
/**
 * First contact: the server's version, or a clear error. A connection that cannot be made fails after the few seconds
 * that the retries take, not after minutes.
 */
export async function connect(api: Api, signal: AbortSignal): Promise<{ gitVersion: string }> {
  try {
    return await api.request<{ gitVersion: string }>('GET', '/version', { signal })
  } catch (error) {
    throw explainApiError(error, 'connecting')
  }
}

/** Kinds of the groups that are asked for; groups the server does not have are absent. Needs no rights of its own. */
export async function discover(
  api: Api,
  groupVersions: readonly string[],
  signal: AbortSignal,
): Promise<ApiGroupVersion[]> {
  const found = await Promise.all(
    groupVersions.map(async groupVersion => {
      const [group = '', version = ''] = groupVersion.split('/')
      try {
        const answer = await api.request<{ resources?: { kind: string; name: string }[] }>(
          'GET',
          `/apis/${groupVersion}`,
          { signal },
        )
        return [
          {
            group,
            version,
            kinds: [...new Set((answer.resources ?? []).filter(r => !r.name.includes('/')).map(r => r.kind))],
          },
        ]
      } catch (error) {
        if (isNotFound(error) || isForbidden(error)) return []
        // Registered, but whoever serves it is away: who that is, its APIService tells.
        if (error instanceof ApiError && error.status === 503) return [{ group, version, kinds: [] }]
        throw explainApiError(error, 'reading the API groups')
      }
    }),
  )
  return found.flat()
}

/** Asks the server which of these rights the current identity lacks; all at once, nothing is changed. */
export async function missingRights(
  api: Api,
  reviews: readonly Review[],
  signal: AbortSignal,
  log: Log,
): Promise<Review[]> {
  const answers = await Promise.all(
    reviews.map(async review => {
      const { group, resource, subresource, verb, namespace } = review
      const answer = await api.request<{ status?: { allowed?: boolean } }>(
        'POST',
        '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        {
          idempotent: true,
          signal,
          body: {
            apiVersion: 'authorization.k8s.io/v1',
            kind: 'SelfSubjectAccessReview',
            spec: { resourceAttributes: { group, resource, subresource, verb, namespace } },
          },
        },
      )
      return answer.status?.allowed === true ? [] : [review]
    }),
  ).catch(async error => {
    if (!isForbidden(error) && !isNotFound(error))
      throw explainApiError(error, 'asking for the rights of this identity')
    log.warning('The server does not answer access reviews; missing rights will show when they are needed.')
    await pause(0, signal)
    return []
  })
  return answers.flat()
}
