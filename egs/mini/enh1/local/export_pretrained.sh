#!/usr/bin/env bash
# Puts the models of one run into pretrained/, where ./run.sh starts from.
#   local/export_pretrained.sh TAG [fact=value ...]     TAG as in exp/disc_TAG
set -euo pipefail
tag=$1
shift
hybridse pack --disc "exp/disc_${tag}" --gen "exp/gen_${tag}" --hybrid "exp/hybrid_${tag}" \
  --tokens "dump/tokens_${tag}/train" --out pretrained/small --fact "recipe=egs/mini/enh1" "$@"
