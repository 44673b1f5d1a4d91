#!/bin/bash
# Runs drift on the targets in $TARGET, and leaves reports in $REPORTS.
set -eu

root=$(cd "$(dirname "$0")/../../.." && pwd)
mkdir -p "$REPORTS"
read -ra targets <<< "$TARGET"
status=0
"$root/build.sh" drift "${targets[@]}" \
    ${BASELINE:+--baseline "$BASELINE"} \
    --json "$REPORTS/drift.json" --junit "$REPORTS/drift.xml" \
    --markdown "$REPORTS/drift.md" || status=$?

if [ -n "${GITHUB_OUTPUT:-}" ]; then
    echo "status=$status" >> "$GITHUB_OUTPUT"
fi
if [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ -e "$REPORTS/drift.md" ]; then
    cat "$REPORTS/drift.md" >> "$GITHUB_STEP_SUMMARY"
fi
if [ "$status" -eq 3 ]; then
    exit 0
fi
exit "$status"
