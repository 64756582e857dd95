#!/usr/bin/env bash
# Everything that needs a GPU, in at most 8 minutes: tests, the table, and the time that the paper's grid would take.
#   benchmarks/gpu.sh [cuda|cpu] [FOLDER]      results in FOLDER (default: gpu-results)
# "cpu" runs the same steps without a GPU, to test the script. Training over several processes (nccl) needs two GPUs and
# is left out.
set -euo pipefail
cd "$(dirname "$0")/.."
device=${1:-cuda}
folder=${2:-gpu-results}
mkdir -p "$folder"
export I2IKD_TEST_DEVICE=$device PYTHONPATH="$PWD:$PWD/plugins${PYTHONPATH:+:$PYTHONPATH}"

python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
if ! "$python" -c "import torch, i2ikd, pytest" 2> /dev/null; then
  "$python" -m venv --system-site-packages .venv-gpu
  python=.venv-gpu/bin/python
  "$python" -m pip install --quiet --editable ".[dev]"
fi

limited() { timeout "$1" "${@:2}" || echo "ended with exit code $?: ${*:2}" | tee -a "$folder/failures.txt"; }

"$python" -c "import torch; print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu')" \
  | tee "$folder/machine.txt"
limited 120 "$python" -m pytest tests/cuda -p no:cacheprovider | tee "$folder/tests.txt"
if [ "$device" = cuda ]; then setting=(--rounds 5 --units 10); else setting=(--quick --size 32 --channels 4 --cascades 2); fi
limited 240 "$python" -m benchmarks.run --device "$device" --only output --only attention --only inference --only rivals \
  "${setting[@]}" --json "$folder/table.json" | tee "$folder/table.txt"
limited 90 "$python" -m benchmarks.paper_grid --device "$device" --json "$folder/paper-grid.json" | tee "$folder/paper-grid.txt"
