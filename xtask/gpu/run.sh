#!/usr/bin/env bash
# Runs everything that needs a real GPU on a machine without a Rust toolchain: describes the machine, runs the table of
# checks and compute-sanitizer on its GPU, and compares the training speed with PyTorch's. `cargo xtask gpu-bundle
# FOLDER` makes the folder with this script, the binaries and the fixtures.
#
#   FOLDER/run.sh OUTPUT [TEXT]
#
# OUTPUT receives all results; results.md is a section for docs/benchmarks.md. TEXT is a plain text to train on, such as
# the book's The Time Machine; the default is the bundled sample.
#
# Exit codes: 0 if every check passed, 1 if a check failed or could not be run, 2 for invalid arguments, 3 if there is
# no usable GPU. Training runs that fail are reported in the output.
set -uo pipefail

if [[ $# -lt 1 || $# -gt 2 ]]; then
  echo "usage: $0 OUTPUT [TEXT]" >&2
  exit 2
fi
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [[ ! -x "$here/rnnlm" || ! -x "$here/verify" ]]; then
  echo "error: this folder has no rnnlm or no verify; make a complete one with: cargo xtask gpu-bundle FOLDER" >&2
  exit 2
fi
text="${2:-$here/sample.txt}"
if [[ ! -f "$text" ]]; then
  echo "error: no such file: \`$text\`" >&2
  exit 2
fi
mkdir -p "$1/runs"
output="$(cd "$1" && pwd)"
python="${PYTHON:-python3}"
# The models to train, the epochs of a timed run, how many of the first epochs are excluded from the timing, the runs of
# each model, and the timeout of each use of compute-sanitizer in seconds.
models="${MODELS:-rnn-256 gru-256 lstm-256 lstm-2x512}"
epochs="${EPOCHS:-60}"
warm_up="${WARM_UP:-10}"
repeats="${REPEATS:-3}"
patience="${PATIENCE:-120}"
failures=0

say() { printf '\n== %s\n' "$*"; }

# Runs a command with its output in a file, and counts failures.
check() {
  local name="$1"
  shift
  say "$name: $*"
  if "$@" >"$output/$name.txt" 2>&1; then
    tail -n 3 "$output/$name.txt"
  else
    echo "FAILED with exit code $?; the last lines of $name.txt:"
    tail -n 15 "$output/$name.txt"
    failures=$((failures + 1))
  fi
}

# Adds folders with an NVRTC to the loader's search path: those of a CUDA toolkit and of Python wheels.
find_nvrtc() {
  local folders=(/usr/local/cuda/lib64 /usr/local/nvidia/lib64) folder
  while IFS= read -r folder; do folders+=("$folder"); done < <(
    "$python" -c 'import glob, nvidia
for root in nvidia.__path__: print(*glob.glob(root + "/*/lib"), sep="\n")' 2>/dev/null
  )
  for folder in "${folders[@]}"; do
    if compgen -G "$folder/libnvrtc.so*" >/dev/null; then
      export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder"
    fi
  done
}

environment() {
  date -u
  uname -srm
  grep -m1 'model name' /proc/cpuinfo
  nproc
  ldd --version | head -n 1
  if command -v nvidia-smi; then
    nvidia-smi
    nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.sm,clocks.max.sm,memory.total --format=csv
  fi
  ldconfig -p | grep -E 'libcuda\.|libnvrtc\.'
  echo "LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}"
  command -v compute-sanitizer nvcc "$python"
  "$python" -c 'import torch
print("torch", torch.__version__, torch.cuda.is_available(), torch.backends.cudnn.version())'
  "$here/rnnlm" --version
  "$here/rnnlm" devices
}

# The checks to run with compute-sanitizer: every operation, every cell on every path, layers that are too large for one
# launch, and many steps of an LSTM, whose kernel has the most state per thread.
sanitize() {
  local sanitizer tool filter
  sanitizer="$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)"
  if [[ -z "$sanitizer" ]]; then
    say "compute-sanitizer: SKIPPED, not found on this machine"
    return
  fi
  for tool in memcheck racecheck initcheck; do
    for filter in "9×33" "T2 N3 D5 H7" "T2 N3 D5 H257" "lstm backward T35 N3 V28 H33"; do
      check "sanitizer-$tool-${filter// /-}" env "RNNLM_FIXTURES=$here/fixtures" timeout "$patience" \
        "$sanitizer" --tool "$tool" --error-exitcode 1 "$here/verify" --backend cuda --filter "$filter"
    done
  done
}

# Alternates runs of PyTorch and rnnlm, so that thermal throttling affects both.
train() {
  local model="$1" number row
  shift
  if [[ " $models " != *" $model "* ]]; then return; fi
  local options=("$@")
  for number in $(seq "$repeats"); do
    for row in book device device-fp32 graph; do
      say "$model, PyTorch, $row, run $number"
      "$python" "$here/torch_lm.py" --device cuda --text "$text" --row "$row" --epochs "$epochs" --warm-up "$warm_up" \
        "${options[@]}" >"$output/runs/$model.$row.$number.json" 2>"$output/train-error.txt" ||
        { tail -n 1 "$output/train-error.txt"; rm -f "$output/runs/$model.$row.$number.json"; }
    done
    say "$model, rnnlm, run $number"
    rm -rf "$output/runs/$model.rnnlm.$number"
    "$here/rnnlm" train --device cuda --corpus "$text" --normalize book --epochs "$epochs" --sample-every "$epochs" \
      --quiet --out "$output/runs/$model.rnnlm.$number" "${options[@]}" >"$output/$model-rnnlm.txt" 2>&1 ||
      { tail -n 3 "$output/$model-rnnlm.txt"; rm -rf "$output/runs/$model.rnnlm.$number"; }
  done
}

find_nvrtc
say environment
environment 2>&1 | tee "$output/environment.txt"
if ! grep -q '^cuda:0 ' "$output/environment.txt"; then
  say "NO GPU: $(sed -n 's/^no gpu *//p' "$output/environment.txt"); no check was run"
  exit 3
fi
check verify env "RNNLM_FIXTURES=$here/fixtures" "$here/verify" --backend cuda --require cuda
sanitize
train rnn-256 --cell rnn --max-tokens 10000
train gru-256 --cell gru --max-tokens 10000
train lstm-256 --cell lstm --max-tokens 10000
train lstm-2x512 --cell lstm --num-layers 2 --hidden-size 512 --batch-size 64 --max-tokens 0
say "results.md"
"$python" "$here/summary.py" "$output" "$warm_up" | tee "$output/results.md"
say "$failures checks failed; all results are in $output"
[[ "$failures" -eq 0 ]]
