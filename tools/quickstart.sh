#!/usr/bin/env bash
# The whole road on real images that need no download: train, evaluate, export, classify.
# Repeats nothing that an earlier call has finished; `rm -r runs/quickstart` starts over.
set -eu
# shellcheck source=tools/_setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/_setup.sh"

runs=runs/quickstart
for defense in undefended at agkd_bml; do
  printf '\n== %s\n' "$defense"
  "$PYTHON" -m tools.train --flagfile=flags/digits/$defense.flags --workdir=$runs/$defense --nohints
  "$PYTHON" -m tools.evaluate --workdir=$runs/$defense
done

printf '\n== export, and use without this project\n'
"$PYTHON" -m tools.export --workdir=$runs/agkd_bml
"$PYTHON" -m tools.sample_images --dataset=digits --output=$runs/images --count=5
# TensorFlow's start-up notes go to a file that is shown only if something fails.
"$PYTHON" tools/classify.py $runs/agkd_bml/saved_model $runs/images/*.png 2> $runs/classify.log || {
  cat $runs/classify.log >&2
  exit 1
}

printf '\n== accuracy in %% on the 400 test images, with 95 %% intervals; l_inf eps 38/255\n'
"$PYTHON" -m tools.report $runs/undefended $runs/at $runs/agkd_bml
cat <<END

Next:
  $PYTHON -m tensorboard.main --logdir=$runs       # watch the curves and the attention panels
  $PYTHON -m tools.evaluate --workdir=$runs/agkd_bml --attacks=autoattack --audit
  $PYTHON -m tools.train --flagfile=flags/cifar10/agkd_bml.flags --download --dry_run
END
