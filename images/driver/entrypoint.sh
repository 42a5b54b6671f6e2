#!/bin/sh
# Results should belong to whoever owns the output folder, so that they can be moved and deleted without root.
# Compose starts this container as root for that one purpose; before any video is touched the driver becomes the
# folder's owner. A folder of root's is first given to the image's own user, if all in it is ours. Started as another
# user (docker run --user), it stays that user.
set -eu
# In an engine that runs without root, root in here is the person who started it, to whom results should belong.
is_root_outside() { read -r _ outside _ </proc/self/uid_map && [ "$outside" = 0 ]; }

owner=$(stat -c %u "$OUTPUT" 2>/dev/null || echo 0)
group=$(stat -c %g "$OUTPUT" 2>/dev/null || echo 0)
if [ "$(id -u)" = 0 ] && [ "$owner" = 0 ] && is_root_outside; then
    owner=$(id -u mousetal)
    group=$(id -g mousetal)
    python -m inference_script.handover "$OUTPUT" "$owner" "$group"
fi
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
    exec setpriv --reuid="$owner" --regid="$group" --clear-groups -- python -m inference_script "$@"
fi
exec python -m inference_script "$@"
