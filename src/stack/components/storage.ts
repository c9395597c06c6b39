import { createHash } from 'node:crypto'
import { type KubeObject, specHashAnnotation } from '../kube.ts'
import { names, tokenSecretKey } from '../names.ts'
import {
  awayFromGpus,
  type Env,
  envList,
  object,
  placed,
  podLabels,
  restrictedContainer,
  restrictedPod,
} from '../object.ts'
import type { Component, StackSpec } from '../spec.ts'

/** Where the volume is mounted in the download pod; the server mounts the same volume at /model-cache. */
const mountPath = '/cache'

/** Folder of the weights on the volume. */
export const modelFolder = (model: string): string => `models/${model}`
/** Written last: a folder with this file holds a complete download of the model and revision in its first line. */
export const marker = '.bench-complete'

/** No revision is an input, so it is the repository's default branch. */
const revision = 'main'
const markerLine = `$HF_MODEL_ID@${revision}`

// The file that `hf auth login --token` writes, without the token in an argument list; printf is part of the shell.
const login = `umask 077
mkdir -p "$HF_HOME"
printf %s "\${HF_TOKEN:?}" > "$HF_HOME/token"
umask 022
`

// One command per line, `set -e`: a failing step fails the Job, whose back-off repeats it. hf resumes what is there.
const downloadScript = (gated: boolean): string => `set -e
target="$MOUNT_PATH/$MODEL_PATH"
if [ -f "$target/${marker}" ] && [ "$(head -n 1 "$target/${marker}")" = "${markerLine}" ]; then
  echo "the weights of $HF_MODEL_ID are already on the volume"
  exit 0
fi
mkdir -p "$target"
if ! command -v hf >/dev/null 2>&1; then
  pip install --quiet huggingface_hub
  export PATH="$PATH:$HOME/.local/bin"
fi
${gated ? login : ''}hf download "$HF_MODEL_ID" --revision ${revision} --local-dir "$target" --exclude 'original/*'
echo "${markerLine}" > "$target/${marker}.new"
mv "$target/${marker}.new" "$target/${marker}"
`

/** The model volume and the Job that fills it; nothing when the weights are on a claim already or come from the hub. */
export const storage: Component = {
  id: 'storage',
  objects: (spec: StackSpec): KubeObject[] => (spec.source.kind === 'pvc' ? [claim(spec), downloadJob(spec)] : []),
}

function claim(spec: StackSpec): KubeObject {
  return object(spec, 'v1', 'PersistentVolumeClaim', names(spec).modelClaim, {
    spec: {
      accessModes: [spec.storage.accessMode],
      resources: { requests: { storage: spec.storage.size } },
      volumeMode: 'Filesystem',
      ...(spec.storage.className === undefined ? {} : { storageClassName: spec.storage.className }),
    },
  })
}

function downloadJob(spec: StackSpec): KubeObject {
  const n = names(spec)
  const gated = spec.gated && spec.hfToken !== undefined
  const env: Env = {
    MODEL_PATH: modelFolder(spec.model),
    HF_MODEL_ID: spec.model,
    ...(gated ? { HF_TOKEN: { secret: n.tokenSecret, key: tokenSecretKey } } : {}),
    ...(spec.hfEndpoint === undefined ? {} : { HF_ENDPOINT: spec.hfEndpoint }),
    HF_HOME: '/tmp/huggingface',
    HOME: '/tmp',
    MOUNT_PATH: mountPath,
  }
  const body = {
    spec: {
      backoffLimit: 3,
      activeDeadlineSeconds: spec.downloadTimeoutSeconds,
      template: {
        metadata: { labels: podLabels(spec, { 'app.kubernetes.io/component': 'model-download' }) },
        spec: {
          restartPolicy: 'OnFailure',
          automountServiceAccountToken: false,
          ...placed(spec.placement),
          ...awayFromGpus(spec),
          securityContext: restrictedPod(spec),
          containers: [
            {
              name: 'downloader',
              image: spec.images.harness,
              command: ['/bin/sh', '-c'],
              args: [downloadScript(gated)],
              env: envList(env),
              resources: { requests: { cpu: '1', memory: '2Gi' }, limits: { memory: '8Gi' } },
              securityContext: { ...restrictedContainer },
              volumeMounts: [
                { name: 'model-cache', mountPath },
                { name: 'tmp', mountPath: '/tmp' },
              ],
            },
          ],
          volumes: [
            { name: 'model-cache', persistentVolumeClaim: { claimName: n.modelClaim } },
            { name: 'tmp', emptyDir: {} },
          ],
        },
      },
    },
  }
  const job = object(spec, 'batch/v1', 'Job', n.downloadJob, body)
  job.metadata.annotations = {
    [specHashAnnotation]: createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 16),
  }
  return job
}
