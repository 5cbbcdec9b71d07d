# Thin: each target sets up .venv first where it must. `make demo` and `make test` are all that a fresh machine needs.
SHELL := bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
# A stage is a process: where images of containers forbid bytecode, each would compile mlflow, torch and the rest again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check bench ui graph rooms lock setup own clean
.DEFAULT_GOAL := demo

demo: setup           ## the whole study on embedded synthetic images, in minutes, without a server
	$(BIN)/dermflow demo

# One process more than there are cores, up to four: tests of the pipeline wait for servers and for each other. Each has
# one thread: more would wait for each other, too.
WORKERS = $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')

test: setup           ## every test; those that need a GPU or ../shared are skipped with a message where it is missing
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

check: setup          ## format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup          ## what is claimed as speed, as ratios, into benchmarks/results.json
	$(BIN)/python -m benchmarks

ui: setup             ## MLflow's comparison of runs at 127.0.0.1
	$(BIN)/dermflow ui

graph: setup          ## write the deps of dvc.yaml from the imports, after code was added, moved or split
	$(BIN)/python -m flows.orchestration.freshness

rooms: setup          ## draw the rooms of components/ and their imports into docs/architecture.md
	$(BIN)/python -m docs.rooms

setup: own $(READY)

# After a move or a copy of the folder, an environment still runs the code of the folder that it was made for.
own:
	@made="$$(head -n 1 .venv/lib/python3*/site-packages/_editable_impl_dermflow.pth 2>/dev/null \
	  || sed -nE 's|^command = .* -m venv (--[^ ]+ )*(/.*)/\.venv$$|\2|p' .venv/pyvenv.cfg 2>/dev/null)"; \
	if [ -n "$$made" ] && ! [ "$$made" -ef . ]; then \
	  echo ".venv was made for $$made, and this checkout is $$(pwd -P): its programs would run the code there."; \
	  echo "Build it again here: rm -rf .venv && make setup"; exit 1; \
	fi

# uv itself is pinned and hashed in the lock; pip installs it alone, uv does the rest.
$(READY): requirements.lock pyproject.toml | own
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "Dermflow needs Python 3.11 to 3.13, found $$($(PYTHON) --version): make PYTHON=python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --require-hashes --no-deps -r .venv/uv.txt
	VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(READY)

lock:                 ## renew requirements.lock from pyproject.toml
	test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet uv; }
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --extra dev pyproject.toml --output-file requirements.lock

clean:                ## what runs have made; data sets under data/raw of your own stay
	rm -rf data/pixels data/encoders data/classifiers data/predictions data/checkpoints data/docs mlruns/mlflow.db mlruns/artifacts
