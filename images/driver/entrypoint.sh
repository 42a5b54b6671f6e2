#!/bin/sh
# Results should belong to whoever owns the output folder, so that they can be moved and deleted without root.
# Compose starts this container as root for that one purpose; before any video is touched the driver becomes the
# folder's owner. Started as another user (docker run --user), it stays that user.
set -eu
owner=$(stat -c %u "$OUTPUT" 2>/dev/null || echo 0)
group=$(stat -c %g "$OUTPUT" 2>/dev/null || echo 0)
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
    exec setpriv --reuid="$owner" --regid="$group" --clear-groups -- python -m inference_script "$@"
fi
exec python -m inference_script "$@"
