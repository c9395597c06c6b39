import type { KubeObject } from '../kube.ts'
import { names, tokenSecretKey } from '../names.ts'
import { object } from '../object.ts'
import type { Component, StackSpec } from '../spec.ts'

/** The model hub token, only when one was given. `data`, not `stringData`, so that a second apply finds nothing changed. */
export const access: Component = {
  id: 'access',
  objects: (spec: StackSpec): KubeObject[] => {
    if (spec.hfToken === undefined) return []
    const secret = object(spec, 'v1', 'Secret', names(spec).tokenSecret, {
      type: 'Opaque',
      data: { [tokenSecretKey]: Buffer.from(spec.hfToken).toString('base64') },
    })
    const copies =
      spec.harnessNamespace === spec.namespace
        ? []
        : [{ ...secret, metadata: { ...secret.metadata, namespace: spec.harnessNamespace } }]
    return [secret, ...copies]
  },
}
