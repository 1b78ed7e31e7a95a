# Every command of a developer, and of the continuous integration. Needs Python 3.11 or newer, git and make;
# the rest is installed into .venv, once, and again when pyproject.toml or constraints.txt change.

PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# An empty file a set of packages: what it stands for is installed.
CORE := $(VENV)/.installed-core
TEST := $(VENV)/.installed-test
BENCH := $(VENV)/.installed-bench
RELEASE := $(VENV)/.installed-release

# Of its own, as the tests of a framework run wherever it is installed, and take minutes.
INTEROP := .venv-interop
# Ray is large, and its clusters are heavy.
RAY := .venv-ray
# Servers of object stores, each a program of its own.
REMOTE := .venv-remote

# Rooms whose tests start no process, and what holds for the whole library.
QUICK := tests/format tests/order tests/samples tests/storage tests/conversion/sources tests/dataset/keys \
	tests/loader/plan/test_state.py tests/loader/plan/test_world.py tests/process/wire/test_messages.py \
	tests/process/wire/test_slots.py $(wildcard tests/test_format_*.py) tests/test_drawings.py tests/test_layering.py \
	tests/test_local_path.py tests/test_names.py tests/test_owners.py tests/test_payload.py tests/test_public_api.py

.DEFAULT_GOAL := help
# A half-made environment must not look like a finished one.
.DELETE_ON_ERROR:
.PHONY: help demo test test-pure test-interop test-ray test-remote quick check format bench wheel soak coverage mutations

help:
	@echo "make demo     install splitdata; convert, read and verify real files, train on them, stop and resume"
	@echo "make test     run the tests"
	@echo "make test-pure  run them without the compiled path (docs/speedups.md)"
	@echo "make test-interop  run those of frameworks, with all of them installed"
	@echo "make test-ray  run those of Ray, on a cluster of two nodes on this machine"
	@echo "make test-remote  run those of object stores against servers of others, as far as they install here"
	@echo "make quick    run those of rooms without processes, in less than a minute on two free cores"
	@echo "make check    lint, formatting, types"
	@echo "make format   put the code into its standard form"
	@echo "make bench    measure against other libraries on this machine"
	@echo "make wheel    build the wheel into dist/ and look through its contents"
	@echo "make soak     run the tests that take long on purpose"
	@echo "make coverage  run the tests of four rooms, and say which lines and branches of these none reaches"
	@echo "make mutations  plant bugs one at a time, and say which the tests find"

demo: $(CORE)
	$(BIN)/python examples/demo.py

# Three at a time on two cores: much of a test is waiting for processes that it has started.
test: $(TEST)
	$(BIN)/pytest -q --numprocesses=3 --dist=worksteal

test-pure: $(TEST)
	SPLITDATA_PURE=1 $(BIN)/pytest -q --numprocesses=3 --dist=worksteal

test-ray: $(RAY)/.installed
	$(RAY)/bin/pytest -q tests/interop/test_ray.py
	$(RAY)/bin/pytest -q tests/test_examples.py -k ray

test-remote: $(REMOTE)/.installed
	$(REMOTE)/bin/pytest -q tests/dataset/stores tests/storage/remote tests/dataset/reading/test_bucket_reading.py \
		tests/cli/test_store_commands.py

test-interop: $(INTEROP)/.installed
	$(INTEROP)/bin/pytest -q --numprocesses=2 tests/interop tests/test_examples.py

quick: $(TEST)
	$(BIN)/pytest -q --numprocesses=2 --hypothesis-profile=quick -m "not slow and not soak" $(QUICK)

check: $(TEST)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(TEST)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(BENCH)
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.queue_workload
	$(BIN)/python -m benchmarks.loader_workload
	$(BIN)/python -m benchmarks.samples

wheel: $(RELEASE)
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(BIN)/check-wheel-contents dist

# The watchdog of the tests sets the limits here, not the last resort of an ordinary run.
soak: $(TEST)
	$(BIN)/pytest -m soak --hypothesis-profile=soak -o faulthandler_timeout=0

# In Python alone, as no line of the compiled path can be seen; processes that tests start are looked at too.
COVERED := tests/format tests/storage tests/dataset tests/faults tests/process tests/test_conformance.py
coverage: $(TEST)
	rm -f .coverage .coverage.*
	-SPLITDATA_PURE=1 $(BIN)/coverage run -m pytest -q $(COVERED)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered

mutations: $(TEST)
	$(BIN)/python -m tests.mutations

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("splitdata needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": run make PYTHON=/path/to/a/newer/python")'
	$(PYTHON) -m venv --clear $(VENV)

$(INTEROP)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(INTEROP)
	$(INTEROP)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test,test-interop]'
	@touch $@

$(RAY)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(RAY)
	$(RAY)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test,torch,ray]'
	@touch $@

# Azurite is a package of Node: without npm, or where it cannot be had, its tests are skipped, and say so.
$(REMOTE)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(REMOTE)
	$(REMOTE)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test-remote]'
	-npm install --silent --no-audit --no-fund --prefix $(REMOTE)/node azurite@3
	@touch $@

# Compiles splitdata/_speedups.c too, where there is a compiler, and goes on where there is none.
$(CORE): pyproject.toml constraints.txt hatch_build.py splitdata/_speedups.c $(VENV)/pyvenv.cfg
	$(INSTALL) --editable .
	@touch $@

$(TEST): $(CORE)
	$(INSTALL) --editable '.[test,torch]'
	@touch $@

$(BENCH): $(CORE)
	$(INSTALL) --editable '.[bench]'
	@touch $@

$(RELEASE): $(CORE)
	$(INSTALL) --editable '.[release]'
	@touch $@
