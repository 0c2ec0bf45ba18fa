# Every target sets up what it needs first: the virtual environment in .venv (made again when
# pyproject.toml changed) and, announced, the Debian packages that are missing.

PYTHON ?= python3
SETUP = PYTHON=$(PYTHON) tests/setup.sh
BIN = .venv/bin

.PHONY: help check setup-check check-static check-unit format test test-host test-guest bench load chaos attacks fuzz demo pictures guest-kernel coverage clean

help:
	@echo 'make check         format, lint, types, import order, unit tests (under a minute)'
	@echo 'make test          every test this host can run, then those for cgroup v2 in a guest'
	@echo 'make test-host     the first half of it'
	@echo 'make test-guest    the second half: a User-Mode Linux guest'
	@echo 'make demo          run containers and show what isolates and limits them'
	@echo 'make pictures      draw the dashboards from live data (20 minutes, 650 MB of packages once)'
	@echo 'make bench         measure, beside runc and dockerd'
	@echo 'make load          start hundreds of containers of several kinds, and report'
	@echo 'make chaos         kill, fail and delay everything, at full length (about an hour)'
	@echo 'make attacks       try every attack a thousand times (docs/attacks.md; hours)'
	@echo 'make fuzz          feed a million inputs to each decoder (docs/fuzzing.md; hours)'
	@echo 'make coverage      branch coverage of the unit and host tests'
	@echo 'make format        rewrite the sources as `make check` wants them'
	@echo 'make guest-kernel  build the guest kernel that has all features (13 CPU minutes, once)'
	@echo 'make clean         remove what the above made in this folder, .venv too'

check: setup-check
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check-unit check-static

setup-check:
	@$(SETUP) check

check-static:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

check-unit:
	$(BIN)/pytest tests/unit --limit-skips=check --numprocesses=2 --quiet

format:
	@$(SETUP) check
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test:
	@$(SETUP) test
	$(BIN)/python -m tests.run host guest

test-host:
	@$(SETUP) test
	$(BIN)/python -m tests.run host

test-guest:
	@$(SETUP) test
	$(BIN)/python -m tests.run guest

bench:
	@$(SETUP) bench
	$(BIN)/python -m tests.bench

load:
	@$(SETUP) test
	$(BIN)/python -m tests.load

chaos:
	@$(SETUP) test
	ORLOP_CHAOS_FULL=1 $(BIN)/pytest tests/chaos -o faulthandler_timeout=3600

attacks:
	@$(SETUP) test
	ORLOP_ATTACK_ROUNDS=1000 $(BIN)/pytest tests/attacks

fuzz:
	@$(SETUP) fuzz
	$(BIN)/python -m tests.fuzz

demo:
	@$(SETUP) demo
	$(BIN)/python -m tests.demo

pictures:
	@$(SETUP) pictures
	$(BIN)/python -m tests.pictures

coverage:
	@$(SETUP) test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

guest-kernel:
	@$(SETUP) guest-kernel
	tests/guest/build.sh

clean:
	rm -rf .venv .cache .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache \
	  .import_linter_cache bench-results build dist
	find supervisor netplumb metrics tests -name __pycache__ -prune -exec rm -rf {} +
