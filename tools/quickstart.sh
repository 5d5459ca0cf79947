#!/usr/bin/env bash
# The whole way on real images that need no download: train, attack, compare, export, classify.
# What an earlier call has finished is not done again; `rm -r runs/quickstart` starts over.
set -eu
# shellcheck source=tools/_setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/_setup.sh"

runs=runs/quickstart
short="--epochs=8 --decay_epochs=5,7"  # less than half of the recipes' training, so these networks resist less
say() { printf '\n== %s\n' "$*"; }
run() {  # prints a command, then runs it
  printf '\n$ python %s\n' "$*"
  "$PYTHON" "$@"
}

say "1 of 4: three networks: without a defense, with adversarial training (AT), with AGKD-BML (the first is its teacher)"
run -m tools.train --flagfile=flags/digits/undefended.flags $short --workdir=$runs/undefended --nohints
run -m tools.train --flagfile=flags/digits/at.flags $short --workdir=$runs/at --nohints
run -m tools.train --flagfile=flags/digits/agkd_bml.flags $short --workdir=$runs/agkd_bml --teacher=$runs/undefended --nohints

say "2 of 4: attack each of them, on the 400 test images"
for defense in undefended at agkd_bml; do run -m tools.evaluate --workdir=$runs/$defense; done

say "3 of 4: export, and use without this project"
run -m tools.export --workdir=$runs/agkd_bml
run -m tools.sample_images --dataset=digits --output=$runs/images --count=5
# TensorFlow's start-up notes go to a file that is shown only if something fails.
run tools/classify.py $runs/agkd_bml/saved_model $runs/images/*.png 2> $runs/classify.log || {
  cat $runs/classify.log >&2
  exit 1
}

say "4 of 4: compare: accuracy in %, with 95 % intervals, within l_inf eps 38/255"
run -m tools.report $runs/undefended $runs/at $runs/agkd_bml
cat <<END

Next (after: source .venv/bin/activate):
  tensorboard --logdir=$runs                       # the curves, and where the networks look
  python -m tools.evaluate --workdir=$runs/agkd_bml --attacks=autoattack --audit
  python -m tools.train --flagfile=flags/cifar10/agkd_bml.flags --download --dry_run
END
