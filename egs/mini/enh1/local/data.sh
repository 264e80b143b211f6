#!/usr/bin/env bash
# Stage 1: lists of speech, noise, wind and room responses under data/{train,valid,test}.
# Arguments are those of `hybridse prepare`, e.g. --nj 4 or --speech_dir DIR --noise_dir DIR.
set -euo pipefail

hybridse prepare --out data --downloads downloads "$@"
