// What this version promises, by number, and the tests that name each number.
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

/** Number to promise. Gaps belong to what this version does not have yet (installing the platform, HTML report). */
export const promises = {
  1: 'There are three modes. An unknown mode, input or value is refused before anything else happens, by name.',
  2: '`namespace` is `model` or `model,harness`; a single name stands for both.',
  3: 'An input that was given beats the settings of the well-lit path, which beat the defaults.',
  4: 'The label of a model is a pure function of namespace and model id.',
  5: 'A gated model without a token is refused before the cluster is changed; `run` takes the token from the Secret of the stack.',
  6: 'Access to a gated model is tried with the token and the failure names the model; nobody is asked about an open model.',
  8: 'A dry run writes the plan, changes nothing, and ends with success.',
  9: 'No secret is in a log, a file, an artifact, a comment or a plan.',
  12: 'One kubeconfig and one context decide about every call to a cluster.',
  16: 'Without a node that has a known GPU label standup fails; an explicit label must be on a node.',
  17: 'A GPU label that was found binds the decode pods to its nodes.',
  19: 'A namespace that is missing is created; no mode deletes one.',
  20: 'The token is in Secret `llm-d-hf-token`, key `HF_TOKEN`, in both namespaces, and follows a changed input.',
  21: 'The model volume has the size, access mode and class that were asked for; a missing class fails by name.',
  23: 'A Job downloads the weights to `models/<org>/<name>`, and logs in for gated models only.',
  24: 'A download that fails or takes too long fails the standup, with the log of its pod.',
  25: 'The preprocess script is a ConfigMap in the namespace of the model servers.',
  28: 'The objects of gateway, endpoint picker and model server are those that the charts of the llm-d project render, but for listed differences.',
  29: 'Every image is explicit.',
  30: 'Environment and ports of the well-lit path reach the decode container.',
  31: 'The command line of `vllm serve` has every flag of the path.',
  32: 'Decode has 2 replicas of 1 GPU, 16 CPU and 64Gi with probes; all of it can be changed.',
  33: 'The route has a rewritten prefix and a catch-all, and no time limit.',
  34: 'Standup waits until every decode pod is ready; what cannot become ready ends the wait early, with events and log.',
  35: 'The Gateway carries who stood it up, from what and how.',
  36: 'Every decode pod and the gateway must list the requested model; a mismatch names both ids.',
  37: 'The smoke test repeats what is transient until a deadline, and sends one real completion.',
  38: 'A second standup of the same inputs changes nothing; a changed input is applied.',
  39: 'Logs of the model servers are kept after success and after failure.',
  40: 'A failed step ends the action with failure, naming step and cause.',
  41: 'The autoscaler is off by default: no object of it is made without the input.',
  43: 'A cluster without WVA is told so, with the command that installs it, before anything is written.',
  44: 'A WVA controller that is there is used as it is, wherever it runs; its version is compared and named.',
  45: 'A WVA leg has HPA, VariantAutoscaling, ServiceMonitor and Service with the values of the chart.',
  46: 'Those objects are named after the model, so that two models do not share one.',
  47: 'The accelerator label of a VariantAutoscaling follows the GPU of the nodes and is never empty.',
  50: 'Standup under WVA ends when the chain is seen working; a link that does not work is named.',
  52: '`run` knows nothing about the autoscaler: both kinds of legs are measured by the same call.',
  53: 'The endpoint is the host name in the status of the labelled Gateway.',
  54: 'A Gateway with an IP address gives that address; of several the one of this stack counts; none is a failure that names the label.',
  56: 'The endpoint is asked from inside the cluster; any id in its list of models will do, a mismatch names both sides.',
  57: '`chatbot_synthetic` renders to exactly its YAML.',
  58: 'Target and model are filled in, comments dropped; a placeholder without value or default fails by name.',
  59: 'Overrides address keys of the YAML by dotted path; an unknown key is refused.',
  61: 'A ConfigMap of its own holds the rendered profile of each harness pod.',
  62: 'The harness pod runs guidellm once, with 16 CPU and 32Gi unless overridden, and leaves report, logs and summary.',
  63: 'The harness pod has no kubeconfig, no service account token and only the variables it needs.',
  64: 'Pods that load at once have names and result folders of their own.',
  65: 'A repeat waits for its pods with a deadline; success and failure come from the status of the container.',
  66: 'A harness pod that fails fails the action, after its logs, events and files were fetched.',
  68: 'Results and summary arrive on the runner with size and checksum compared.',
  69: 'The result folder holds the report of guidellm and both of its output streams.',
  70: 'File names carry model, namespace, leg, profile and repeat.',
  73: '`repeats` runs that often, and figures are given over all of them.',
  74: 'Replicas, HPA, the decision of WVA and the queues are recorded while the stack is loaded.',
  75: 'Harness objects are removed afterwards, also after failure or cancellation, and only those of this run.',
  77: 'A dry run of `run` renders against a mock endpoint and creates no pod.',
  78: 'A teardown leaves namespaces, custom resource definitions, the gateway controller and everything cluster-wide.',
  79: 'After a deep teardown no object of the stack is left.',
  80: 'A teardown finds the stack by its label and needs neither model nor path.',
  82: 'Objects of others in the namespace are kept, unless `purge` asks for everything of 17 kinds.',
  83: 'An ordinary teardown keeps weights and token and says so.',
  84: 'Tearing down what is not there succeeds; one failing delete does not stop the others and fails the step at the end.',
  85: 'Scalers and the route go first, the inventory last; the wait is bounded and names the finalizers that hold an object.',
  86: 'All kinds are deleted at once, and a namespace that is named twice is worked on once.',
  91: 'Both legs of a matrix run one after the other in one namespace, and their results are kept apart.',
}

/** Every test whose name begins with numbers (`B31: ...`, `B2, B4: ...`), one entry per number. */
function namedTests(root) {
  const found = []
  for (const e of readdirSync(path.join(root, 'test'), { recursive: true, withFileTypes: true })) {
    if (!e.isFile() || !e.name.endsWith('.test.ts')) continue
    const file = path.relative(root, path.join(e.parentPath, e.name)).split(path.sep).join('/')
    // The name of a test, a describe or a row of a table; the numbers come first, then a colon.
    for (const m of readFileSync(path.join(root, file), 'utf8').matchAll(
      /(['"`])(B\d+(?:, B\d+)*): ((?:(?!\1|\n)[^\\]|\\.)*)\1/g,
    )) {
      for (const number of m[2].split(', '))
        found.push({ number: Number(number.slice(1)), name: m[3].replaceAll(/\\(.)/g, '$1'), file })
    }
  }
  return found.sort((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : 0))
}

/** docs/behaviours.md, and what is wrong with it: promises that no test names, numbers that promise nothing. */
export function behaviours(root) {
  const tests = namedTests(root)
  const problems = [
    ...Object.keys(promises)
      .filter(number => !tests.some(t => t.number === Number(number)))
      .map(number => `no test names B${number}`),
    ...tests.filter(t => !(t.number in promises)).map(t => `${t.file} names B${t.number}, which promises nothing`),
  ]
  const cell = text => text.replaceAll('|', '\\|')
  // Names of tests are plain text, promises are Markdown.
  const plain = text => cell(text).replaceAll('<', '&lt;')
  const rows = Object.entries(promises).map(([number, promise]) => {
    const mine = tests.filter(t => t.number === Number(number))
    const links = mine.map(t => `${plain(t.name)} ([${t.file.replace(/^test\//, '')}](../${t.file}))`)
    return `| B${number} | ${cell(promise)} | ${links.join('<br>')} |`
  })
  const text = `# Behaviours and their tests

Generated by \`npm run generate\` from \`scripts/behaviours.mjs\` and the names of the tests; a number without a test fails
\`npm run check\`. Gaps in the numbers belong to what this version does not have.

| number | behaviour | shown by |
|:--|:--|:--|
${rows.join('\n')}
`
  return { text, problems }
}
