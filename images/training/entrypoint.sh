#!/bin/sh
# `docker compose run --rm training import_videos --help` runs `python -m training.import_videos --help` in the data
# folder, as the owner of that folder, so that what is written there can be moved and deleted without root. With
# `deepspeed` as the first word that launcher runs instead, for several GPUs.
set -eu
if [ $# -eq 0 ]; then
    echo "usage: docker compose run --rm training STAGE [OPTION ...]; the stages are in training/README.md" >&2
    exit 2
fi
if [ "$1" != deepspeed ]; then
    stage=$1
    shift
    set -- python -m "training.$stage" "$@"
fi
owner=$(stat -c %u /work)
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
    export HOME=/tmp
    exec setpriv --reuid="$owner" --regid="$(stat -c %g /work)" --clear-groups -- "$@"
fi
exec "$@"
