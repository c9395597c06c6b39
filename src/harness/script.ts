/** Where the profile ConfigMap is mounted, as the reference has it. */
export const profileMount = '/workspace/profiles/guidellm'
/** The reader container ends when this file exists. */
export const collectedFile = '/requests/.collected'
/** guidellm prints this line before its tables; the summary starts with it. */
export const summaryStart = 'Setup complete, starting benchmarks'

/**
 * Runs guidellm once and lays its files out as the reference's harness does: `results.json`, `stdout.log`, `stderr.log`,
 * `analysis/summary.txt`, below `$RESULTS_DIR`. Nothing is retried: a retry would append to the logs and hide the failure.
 * Both logs also appear, while they grow, in the pod's log: `cat` reads on where the open descriptor stands, so that no
 * line is lost or doubled, and no pipe hides the exit code, which is guidellm's. POSIX sh, no tool beyond its own.
 * Paths come from the environment alone.
 */
export const harnessScript = `#!/bin/sh
mkdir -p "$RESULTS_DIR/analysis" || exit 1
cd "$RESULTS_DIR" || exit 1
: >stdout.log
: >stderr.log
: >analysis/summary.txt
exec 3<stdout.log 4<stderr.log
show() {
  cat <&3
  cat <&4 >&2
}
guidellm benchmark --scenario "$PROFILE_FILE" --output-path "$RESULTS_DIR/results.json" --disable-progress >>stdout.log 2>>stderr.log &
child=$!
trap 'kill "$child" 2>/dev/null' TERM INT
while kill -0 "$child" 2>/dev/null; do
  show
  sleep 1
done
wait "$child"
code=$?
show
if grep -q '${summaryStart}' stdout.log; then
  sed -n '/${summaryStart}/,$p' stdout.log >analysis/summary.txt
else
  echo 'harness: guidellm printed no summary; see stdout.log and stderr.log' >&2
fi
echo "harness: guidellm ended with exit code $code"
exit "$code"
`

/** Keeps the results readable after guidellm has ended, also when it failed, until the runner has copied them. */
export const readerScript = `trap 'exit 0' TERM
while [ ! -e ${collectedFile} ]; do sleep 1 & wait $!; done
`
