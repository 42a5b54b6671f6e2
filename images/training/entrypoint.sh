#!/bin/sh
# `docker compose run --rm training import_videos --help` runs `python -m training.import_videos --help` in the data
# folder, as the owner of that folder, so that what is written there can be moved and deleted without root. With
# `deepspeed` or `torchrun` as the first word that launcher runs instead, for several GPUs.
set -eu
stage=${1:-}
case $stage in
deepspeed | torchrun) ;;
*)
    if [ ! -f "/app/training/$stage.py" ]; then
        echo "usage: docker compose run --rm training STAGE [OPTION ...]; the stages are in training/README.md" >&2
        [ -z "$stage" ] || echo "error: $stage: a stage expected, or deepspeed or torchrun" >&2
        exit 2
    fi
    shift
    set -- python -m "training.$stage" "$@"
    ;;
esac
owner=$(stat -c %u /work)
if [ "$(id -u)" = 0 ] && [ "$owner" != 0 ]; then
    export HOME=/tmp
    exec setpriv --reuid="$owner" --regid="$(stat -c %g /work)" --clear-groups -- "$@"
fi
exec "$@"
