#!/usr/bin/env bash
# Everything that needs a GPU, in one call of at most 8 minutes, on a machine without network.
#
#   benchmarks/gpu.sh RESULTS [IMAGE.tif TRUTH.tif]
#
# RESULTS gets a JSON file and a log for each part, and summary.txt. A part that fails or takes too long does not stop the others.
# Called again with the same RESULTS, only what is missing is done (RESULTS/PART.done says what is there), so a run that was cut
# off goes on. Without IMAGE and TRUTH a phantom stands in; a crop of epfl (64 x 768 x 768 voxels) is enough.
#
# What the machine lacks travels as wheels: on a machine with network, in the environment that runs mitoscale,
#   pip download --no-deps --only-binary=:all: -d wheels -r <(pip freeze | grep -iE '^(segment-anything|connected-components-3d|...)')
# and here WHEELS=wheels benchmarks/gpu.sh RESULTS. What is in WHEELS is installed beside the machine's own packages.
#
# SMALL=1 does all of it in miniature, also on a CPU; PARTS="rates sam" only these.
set -uo pipefail

out="$(mkdir -p "$1" && cd "$1" && pwd)"
image="${2:-}"
truth="${3:-}"
[ -z "$image" ] || image="$(realpath "$image")"
[ -z "$truth" ] || truth="$(realpath "$truth")"
cd "$(dirname "$0")/.."
small="${SMALL:-}"
python="${PYTHON:-python3}"
deadline=$((SECONDS + ${LIMIT:-470}))
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
export PYTHONPATH="$PWD:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$scratch/site" "$WHEELS"/*.whl
    export PYTHONPATH="$PYTHONPATH:$scratch/site" # the machine's own packages come first
fi

pick() { if [ -n "$small" ]; then echo "$1"; else echo "$2"; fi; }

# part NAME SECONDS COMMAND...: once, within its time and that of the whole.
part() {
    local name="$1" limit="$2"
    shift 2
    [[ " ${PARTS:-$name} " == *" $name "* ]] || return 0
    [ ! -e "$out/$name.done" ] || { echo "$name: done before"; return 0; }
    local left=$((deadline - SECONDS))
    [ "$left" -gt 5 ] || { echo "$name: no time is left; call this again"; return 0; }
    local began=$SECONDS
    [ -z "$small" ] || limit=$((3 * limit)) # CPUs in miniature may be busy
    if timeout "$((limit < left ? limit : left))" "$@" > "$out/$name.log" 2>&1; then
        echo "$((SECONDS - began)) s" > "$out/$name.done"
        echo "$name: $((SECONDS - began)) s"
    else
        echo "$name: failed ($?) after $((SECONDS - began)) s: $(tail -n 1 "$out/$name.log")"
    fi
}

volume() { # what is segmented, with its truth
    if [ -z "$image" ]; then
        "$python" benchmarks/phantom_stack.py "$scratch/image.tif" "$scratch/truth.tif" || return 1
        image="$scratch/image.tif" truth="$scratch/truth.tif"
    fi
}

run_options() { # of a run that is small enough, in blocks of which a GPU has several
    echo --voxel-size 5,5,5 --segmenter sam $(pick "--region 0:4,0:128,0:128 --block 4,64,128 --min-volume 1" "--block 32,384,384")
}

whole() { # one run on the GPU: its use, what its slots did, GPU hours per teravoxel, scores
    "$python" benchmarks/gpu_use.py "$scratch/gpu" --out "$out/use.json" -- \
        "$python" -m mitoscale run "$image" "$scratch/gpu" --cluster "$scratch/cluster.yaml" $(run_options) &&
        "$python" benchmarks/pipeline.py "$scratch/gpu" --slots "$(pick 1 3)" --gpus 1 --out "$out/pipeline.json" &&
        "$python" -m mitoscale evaluate "$scratch/gpu" "$truth" --json > "$out/scores.json"
}

official() { # the same with an official size of SAM, whose random weights cost what trained ones cost
    [ -z "$small" ] || return 0
    "$python" benchmarks/gpu_use.py "$scratch/gpu-vit_b" --out "$out/use-vit_b.json" -- \
        "$python" -m mitoscale run "$image" "$scratch/gpu-vit_b" --cluster "$scratch/cluster.yaml" $(run_options) --block 32,1024,1024 --sam "$1" &&
        "$python" benchmarks/pipeline.py "$scratch/gpu-vit_b" --slots 3 --gpus 1 --out "$out/pipeline-vit_b.json"
}

random_vit_b() {
    "$python" -c "
import sys, torch
from pathlib import Path
from mitoscale.nets.checkpoint import WeightsCard, save_weights
from mitoscale.nets.sam import PRESETS, Sam
torch.manual_seed(0)
save_weights(Path(sys.argv[1]), Sam(PRESETS['vit_b']), WeightsCard(architecture='sam', config=PRESETS['vit_b'].model_dump(), pixel_nm=5.0))
" "$1"
}

agree() { # GPU and CPU: the same labels but for rounding
    local crop
    crop="--voxel-size 5,5,5 --segmenter sam --region $(pick 0:4,0:128,0:128 0:16,0:256,0:256) --block $(pick 4,64,128 16,256,256) --min-volume 1"
    "$python" -m mitoscale run "$image" "$scratch/on-gpu" $crop --workers 1 &&
        CUDA_VISIBLE_DEVICES="" "$python" -m mitoscale run "$image" "$scratch/on-cpu" $crop --workers 1 &&
        "$python" -m mitoscale evaluate "$scratch/on-gpu" "$scratch/on-cpu" --json > "$out/agree.json"
}

if [ -n "$small" ]; then printf 'kind: local\nworkers: 1\n'; else
    printf 'kind: cuda\ngroups:\n  io: {workers: 4}\n  gpu: {gpus: 1, threads: 3}\n'
fi > "$scratch/cluster.yaml"
volume || exit 1
part rates 90 "$python" benchmarks/device_rates.py --out "$out/rates.json" \
    $(pick "--matrix 256 --sams small --seconds 0.1 --window 128 --pixels 65536" "--seconds 1.5")
part unet 60 "$python" benchmarks/unet.py --out "$out/unet.json" \
    $(pick "--core 64 --slices 1 --rounds 1" "--core 512 --slices 32")
part sam 90 "$python" benchmarks/sam.py --out "$out/sam.json" \
    $(pick "--sam small --size 256 --prompts 4 --rounds 1" "--sam vit_b --automatic")
export image truth out small python scratch
export -f whole official agree run_options pick
part whole 150 bash -c whole
if [ -z "$small" ] && [ ! -e "$out/official.done" ]; then random_vit_b "$scratch/vit_b.safetensors"; fi
part official 120 bash -c "official $scratch/vit_b.safetensors"
part agree 120 bash -c agree
part cache 60 "$python" benchmarks/embedding_cache.py --out "$out/cache.json" \
    $(pick "--sam small --windows 2 --repeats 1" "--sam vit_b --windows 32 --repeats 2")

{
    for file in "$out"/*.done; do echo "$(basename "$file" .done): $(cat "$file")"; done
    "$python" - "$out" <<'PY'
import json, sys
from pathlib import Path

out = Path(sys.argv[1])
for name, keys in {
    "rates": ("matrix_TFLOP_per_second", "networks"),
    "unet": ("ratio", "network_pixels_per_core_pixel"),
    "sam": ("ratio", "ratio_of_decoding", "logits"),
    "use": ("stages",),
    "use-vit_b": ("stages",),
    "pipeline": ("stages",),
    "pipeline-vit_b": ("stages",),
    "scores": ("foreground",),
    "agree": ("objects_3d",),
    "cache": ("ratio", "seconds_cached", "seconds_encoding"),
}.items():
    if (out / f"{name}.json").exists():
        found = json.loads((out / f"{name}.json").read_text())
        print(name, json.dumps({key: found.get(key) for key in keys}))
PY
} | tee "$out/summary.txt"
