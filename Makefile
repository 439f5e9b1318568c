# make run      sets everything up in .venv and runs the pipeline on the embedded data set
# make install  sets everything up in .venv; with EXTRA=gpu for GPUs, also where none is, as on a cluster's login node
# make test     sets everything up in .venv and runs checks and tests
# make scheduler    shows the tasks that run, and their history: http://127.0.0.1:8082
# make tensorboard  shows the trainings of artifacts/ in a browser: http://localhost:6006
# make lock     updates the lock files in requirements/

VENV  := .venv
BIN   := $(VENV)/bin
# TensorFlow for GPUs where NVIDIA's driver is loaded, otherwise the smaller package for the CPU.
EXTRA := $(if $(wildcard /proc/driver/nvidia/version),gpu,cpu)
STAMP := $(VENV)/installed-$(EXTRA)
# The first Python that TensorFlow has packages for. To choose another: make PYTHON=/path/to/python3.12 run
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

# What `make` alone does.
.DEFAULT_GOAL := run

.PHONY: install run test scheduler tensorboard lock clean

install: $(STAMP)

run: $(STAMP)
	$(BIN)/luigi --module pipeline FullRun --local-scheduler

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

scheduler: $(STAMP)
	$(BIN)/python -m pipeline.scheduler

tensorboard: $(STAMP)
	$(BIN)/tensorboard --logdir artifacts/runs

$(STAMP): requirements/$(EXTRA).lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 to 3.13 found; give its path: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@if ls $(VENV)/installed-* >/dev/null 2>&1 && ! test -e $@; then rm -rf $(VENV); fi  # it was made for the other kind
	@echo "installing into $(VENV): a few minutes, once"
	$(PYTHON) -m venv $(VENV) || { echo "error: Python has no venv; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$(EXTRA).lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/installed-* && touch $@

# One lock file per kind of machine, for all supported versions of Python.
lock:
	$(BIN)/pip install --quiet uv
	for extra in cpu gpu; do $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
		--no-emit-index-url --no-annotate --extra $$extra --extra dev --extra export pyproject.toml -o requirements/$$extra.lock; done

clean:
	rm -rf $(VENV)
