# Everything a person or a machine does with this repository. `make help` lists it; docs/HACKING.md explains it.
#
# Needed beforehand: make, and a Python from 3.11 to 3.15 with venv: for these the locked packages have wheels. Node is not: it arrives as a Python wheel when the
# web editor has to be built. ARGS="..." is handed on to whatever the target runs.

PYTHON ?= $(shell for p in python3 python3.15 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 16))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# A lock is complete, so pip must not resolve anything: --no-deps, or an old pip looks up extras in the index again
# and refuses releases newer than the lock (docs/decisions/0002-lock-files.md).
INSTALL_LOCK := $(PIP) install -qq --no-deps --require-hashes
SEEDS ?= 50
ARGS ?=
WEB_SOURCES := $(shell find webui -path webui/node_modules -prune -o -path webui/dist -prune -o -type f -print)
LOCK := uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-annotate

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run test checks suite lint types floors webui-check format unit meta sim e2e long netns bench coverage lock \
	wheel dev clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# ---- the two everyday commands -------------------------------------------------------------------------------

run: $(VENV)/.run-stamp $(VENV)/.project-stamp ## set everything up, start the daemon, open the editor
	@$(BIN)/sheaf up $(ARGS)

test: checks suite ## every check and every test that needs neither root nor long (the browser ones included)

# ---- the parts of `make test` --------------------------------------------------------------------------------

checks: lint types floors webui-check ## lint, types, import floors, front end

lint: dev ## ruff: rules and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: dev ## mypy --strict over the daemon and what the tests share
	@$(BIN)/mypy
	@$(BIN)/mypy hatch_build.py tests/conftest.py tests/support tests/meta tests/bench

floors: dev ## import-linter: who may import whom
	@$(BIN)/lint-imports --no-logo

webui-check: dev ## the web editor's own lint, types and unit tests
	@$(BIN)/python -m tests.support.node webui run check

# NETNS=1 adds what needs root, so that one run (and one summary) covers everything: .ci/run does that.
suite: dev ## pytest: everything that does not need root, but for long repeats
ifeq ($(NETNS),)
	@echo "Left out here: the network-namespace tests, which need root (make netns), and long repeats (make long)."
	@echo "Parts: make unit | meta | sim | e2e | long | netns; one test: make suite ARGS='-k name'."
	@$(BIN)/python -m pytest -m "not netns and not long" $(ARGS)
else
	@$(BIN)/python -m pytest $(ARGS)
endif

unit: dev ## pytest: unit and contract tests only
	@$(BIN)/python -m pytest -m "not netns" tests/unit tests/contract $(ARGS)

meta: dev ## pytest: tests about the repository itself
	@$(BIN)/python -m pytest tests/meta $(ARGS)

sim: dev ## the seeded simulator, SEEDS=50 worlds
	@SHEAF_SIM_SEEDS=$(SEEDS) $(BIN)/python -m pytest tests/sim $(ARGS)

e2e: dev ## real daemons and a real browser, as far as that goes without root
	@$(BIN)/python -m pytest -m "not netns" tests/e2e $(ARGS)

long: dev ## the long repeats that `make test` leaves to CI: twenty kills, wiped stores, floods again
	@$(BIN)/python -m pytest -m "long and not netns" $(ARGS)

netns: dev ## what needs root: two machines in two network namespaces
	@$(BIN)/python -m pytest -m netns $(ARGS)

coverage: dev ## branch coverage of the unit, contract and sim tests, in the terminal
	@$(BIN)/python -m pytest -m "not netns" --cov --cov-report=term tests/unit tests/contract tests/sim $(ARGS)

bench: dev ## measurements, each against its peer in the same run
	@$(BIN)/python -m tests.bench $(ARGS)

# ---- tools ---------------------------------------------------------------------------------------------------

format: dev ## let ruff put the code in shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

wheel: dev ## dist/: the wheel (web editor inside) and the sdist
	@$(BIN)/uv build --quiet --out-dir dist
	@ls -l dist

lock: dev ## refresh the lock files (LOCK_ARGS=--upgrade takes newer Python packages)
	@$(BIN)/$(LOCK) $(LOCK_ARGS) pyproject.toml -o requirements/run.txt
	@$(BIN)/$(LOCK) $(LOCK_ARGS) --extra dev --extra keyring --extra nats --group build pyproject.toml -o requirements/dev.txt
	@$(BIN)/$(LOCK) --group build --constraint requirements/dev.txt -o requirements/build.txt
	@$(BIN)/$(LOCK) --extra nats --group build --constraint requirements/dev.txt pyproject.toml -o requirements/relay.txt
	@$(BIN)/python -m tests.support.npm_lock webui
	@$(BIN)/python -m tests.support.npm_lock tests/bench
	@$(BIN)/python -m tests.support.npm_lock tests/e2e/js

clean: ## remove everything that was made here, the environment included
	rm -rf $(VENV) dist build daemon/sheaf/webui_dist daemon/sheaf/webui_dist.new webui/node_modules webui/dist \
		tests/bench/node_modules tests/e2e/js/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find daemon tests -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment: locked versions with hashes, then the project itself, editable ----------------------------

dev: $(VENV)/.dev-stamp $(VENV)/.project-stamp

$(VENV)/.venv-stamp:
	@test -n "$(PYTHON)" || { echo "No Python from 3.11 to 3.15 with venv found (on Debian: apt install python3-venv)." \
		"To try another one: make PYTHON=..."; exit 1; }
	@echo "Making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run-stamp: requirements/run.txt requirements/build.txt | $(VENV)/.venv-stamp
	@echo "Installing what the daemon needs"
	@$(INSTALL_LOCK) -r requirements/run.txt -r requirements/build.txt
	@touch $@

$(VENV)/.dev-stamp: requirements/dev.txt requirements/oldest-pip.txt | $(VENV)/.venv-stamp
	@echo "Installing what the daemon, the tests and the checks need"
	@$(INSTALL_LOCK) -r requirements/dev.txt
	@$(PIP) download -qq --no-deps --require-hashes -r requirements/oldest-pip.txt -d $(VENV)/oldest-pip
	@touch $@

# Whoever asks for this also asks for one of the two stamps above, which bring what the build needs.
$(VENV)/.project-stamp: pyproject.toml hatch_build.py $(WEB_SOURCES) | $(VENV)/.venv-stamp
	@echo "Building the web editor (if it changed) and linking the project into $(VENV)"
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@$(PIP) check
	@touch $@
