#!/usr/bin/env bash
# Stage 1: lists of speech, noise, wind and room responses under data/{train,valid,test}.
# Arguments are those of `hybridse prepare`, e.g. --nj 4, --speech_dir DIR --noise_dir DIR, or
# --corpus open --repositories DIR --out data_open.
set -euo pipefail

hybridse prepare --out data --downloads downloads "$@"
