#!/bin/sh
# Runs a test binary in a network namespace of its own (a cargo "runner"): what others left in TIME-WAIT, and which ports
# they take meanwhile, is nothing to it. Without root, or with DUOLU_TEST_NO_NETNS=1, it runs as it is.
if [ "${DUOLU_TEST_NO_NETNS:-}" != 1 ] && unshare --net true 2>/dev/null; then
    exec unshare --net sh -c 'ip link set lo up && exec "$@"' sh "$@"
fi
echo "no network namespace for $1: it shares ports and TIME-WAIT with others" >&2
exec "$@"
