# Everything a person runs. `make setup` is part of each target and a no-op once it has run.
#
#   make explain                       the main job on an example clip
#   make explain CLIP=path/to/video    the same on a video, a folder of frames, or a folder of clips
#
# Variables: CLIP, OUT (where reports go), PYTHON (which interpreter makes .venv), EXTRAS (which
# extras of pyproject.toml setup installs), PYTEST_ARGS. pip's own settings (index, find-links,
# cache, proxy, offline) are used as they are. Setup also gets the face mesh (36 MB) into the user's
# cache, and goes on where it cannot be had.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup explain demo test test-all lower-bounds quality docs results

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.deft-setup
EXTRAS ?= dev,demo,decord,corpora,text,scans,events
# What building without isolation needs: ours, and setuptools for deepspeed.
BUILDERS := hatchling editables setuptools
OUT ?= out
PYTEST_ARGS ?=
# One process a core; a process takes up to 2 GB, hence no more than eight. One that is idle takes
# tests from another's end, so that neighbours, which share fixtures, mostly stay together.
PARALLEL := --numprocesses=auto --maxprocesses=8 --dist=worksteal --durations=10

# The raw text of CLIP reaches the shell through the environment, so that spaces, quotes, dollar
# signs and any alphabet arrive as they were typed.
ifndef CLIP
CLIP := $(firstword $(sort $(wildcard demo/clips/*.mp4)))
endif
CLIP_PATH := $(value CLIP)
OUT_PATH := $(value OUT)
export CLIP_PATH OUT_PATH

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile
	@echo "targets: setup explain demo test test-all lower-bounds quality docs results"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@set -euo pipefail; python="$(PYTHON)"; \
	for candidate in python3.11 python3.12 python3.13 python3; do \
	  [[ -n "$$python" ]] && break; \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then python="$$candidate"; fi; \
	done; \
	if ! $(PY) -m pip --version > /dev/null 2>&1; then \
	  if [[ -z "$$python" ]]; then \
	    echo "setup: found no Python 3.11 or later; install one, or make setup PYTHON=path" >&2; \
	    exit 2; \
	  fi; \
	  echo "setup: making $(VENV) with $$("$$python" --version)"; \
	  "$$python" -m venv $(VENV); \
	fi; \
	torch=$$($(PY) -c 'import torch; v = torch.__version__; \
	    print(v if tuple(map(int, v.split(".")[:2])) >= (2, 9) else "")' 2>/dev/null || true); \
	grep -v '^torch==' constraints.txt > $(VENV)/constraints.txt; \
	if [[ -n "$$torch" ]]; then \
	  echo "setup: keeping torch $$torch, which is already in $(VENV)"; \
	  echo "torch==$$torch" >> $(VENV)/constraints.txt; \
	else \
	  pin=$$(grep '^torch==' constraints.txt); \
	  echo "$$pin" >> $(VENV)/constraints.txt; \
	  echo "setup: downloading $$pin first (about 200 MB as a CPU build; where pip finds only"; \
	  echo "       the CUDA build, about 3 GB with its libraries)"; \
	  $(PY) -m pip install --quiet -c $(VENV)/constraints.txt torch; \
	fi; \
	echo "setup: downloading what is missing of some 130 packages (about 450 MB in all), at the"; \
	echo "       versions of constraints.txt: transformers, datasets, opencv, numba, gradio, ..."; \
	$(PY) -m pip install --quiet -c $(VENV)/constraints.txt $(BUILDERS); \
	$(PY) -m pip install --quiet -c $(VENV)/constraints.txt --no-build-isolation -e '.[$(EXTRAS)]'; \
	$(PY) -m deft_llm models get face-mesh || \
	  echo "setup: going on without the face mesh; the landmark network that comes along serves"; \
	touch $@; \
	echo "setup: done"

explain: setup
	@if [[ -z "$$CLIP_PATH" ]]; then \
	  echo "explain: there is no clip in demo/clips; say make explain CLIP=path/to/video" >&2; exit 2; \
	fi
	@$(VENV)/bin/deft-llm explain --out "$$OUT_PATH" -- "$$CLIP_PATH"

demo: setup
	@$(PY) demo/app.py

test: setup
	$(PY) -m pytest $(PARALLEL) --timeout=300 $(PYTEST_ARGS)

# The slow ones train networks and build wheels.
test-all: setup
	$(PY) -m pytest -m "slow or not slow" $(PARALLEL) --timeout=3600 $(PYTEST_ARGS)

# Prints every direct dependency at its lower bound; torch stays at the version that was tested.
define LOWEST
import re, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
for need in sum(project["optional-dependencies"].values(), project["dependencies"]):
    name, bound = re.match(r"([\w-]+).*?>=([\w.]+)", need).groups()
    if name != "torch":
        print(f"{name}=={bound}")
endef
export LOWEST
LOWER := .venv-lower

# Golden values hold at the versions of constraints.txt alone: a z of the evidence moves in its fourth
# digit from one release of OpenCV to the next.
lower-bounds: setup
	$(PY) -m venv --clear $(LOWER)
	{ grep '^torch==' constraints.txt; $(PY) -c "$$LOWEST"; } > $(LOWER)/constraints.txt
	$(LOWER)/bin/python -m pip install --quiet -c $(LOWER)/constraints.txt torch $(BUILDERS)
	$(LOWER)/bin/python -m pip install --quiet -c $(LOWER)/constraints.txt --no-build-isolation \
	  -e '.[$(EXTRAS)]'
	$(LOWER)/bin/python -m pytest $(PARALLEL) --timeout=300 --ignore=tests/e2e/test_goldens.py \
	  $(PYTEST_ARGS)

quality: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: setup
	$(PY) -m pip install --quiet -c $(VENV)/constraints.txt --no-build-isolation -e '.[docs]'
	$(PY) -m mkdocs build --strict

# Measures every figure again and writes eval/RESULTS.md from what was measured.
results: setup
	$(PY) eval/results.py
