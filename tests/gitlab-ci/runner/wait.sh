#!/bin/bash
# wait.sh HOST:PORT -t SECONDS: until somebody listens there.
set -euo pipefail
end=$((SECONDS + $3))
until : 2>/dev/null <>"/dev/tcp/${1%:*}/${1#*:}"; do
    ((SECONDS < end)) || exit 1
    sleep 0.2
done
