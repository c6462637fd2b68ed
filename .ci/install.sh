#!/usr/bin/env bash
# Install the lab with its extras into a virtual environment: install.sh .venv/bin local,dev
# uv picks the torch build that fits (CPU on Linux without an NVIDIA GPU); where its index cannot be
# reached, pip takes a pinned torch, so that nobody downloads a CUDA build by accident of a resolver.
set -euo pipefail
bin=$1 extras=$2
torch=2.13.0

say() { printf '\033[2m%s\033[0m\n' "$*"; }

say "installing audioreason[$extras] ..."
"$bin/python" -m pip install --quiet --disable-pip-version-check uv
if ! "$bin/python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; then
  case "$(uname -s)" in
    Linux)
      say "choosing a torch build ..."
      "$bin/uv" pip install --quiet --python "$bin/python" --torch-backend=auto "torch==$torch" 2>/dev/null ||
        "$bin/python" -m pip install --quiet --disable-pip-version-check "torch==$torch"
      ;;
    *) "$bin/uv" pip install --quiet --python "$bin/python" "torch==$torch" ;;
  esac
fi
"$bin/uv" pip install --quiet --python "$bin/python" -e ".[$extras]"
say "installed."
