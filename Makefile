# Looma AI. `make` alone lists the targets.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPILED := $(VENV)/.compiled
# A test process per core, each with stores of its own; ARGS="-n 0" is one process, for a debugger.
TESTS := -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
SOURCES := setup.py gateway ai_services shared looma_cli monitoring benchmarks tests

.DEFAULT_GOAL := help
.PHONY: help setup compile uncompiled up down reset test test-all test-servers lint fmt bench drills dashboards lock

help: ## this list
	@echo "Usage: make TARGET"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)$$/  \1\t\2/' | expand -t 14

setup: $(STAMP) $(COMPILED) ## the virtual environment .venv with everything, the gateway compiled

$(STAMP): pyproject.toml requirements.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Looma AI needs Python 3.11 or newer; '$(PYTHON)' is not. Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@echo "Setting up $(VENV); this takes a minute the first time."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(STAMP)

# Without a C compiler the gateway runs from its sources and says so; everything else is the same.
$(COMPILED): $(STAMP) setup.py $(shell find gateway shared -name "*.py")
	@$(BIN)/python setup.py compile_hot_path
	@touch $(COMPILED)

compile: $(STAMP) ## compile the gateway's hot path, if its sources have changed
	@$(BIN)/python setup.py compile_hot_path
	@touch $(COMPILED)

uncompiled: $(STAMP) ## run the gateway from its sources, until `make compile`
	@find gateway -name "*.so" -delete
	@rm -f gateway/compiled_sources.txt
	@touch $(COMPILED)

up: setup ## start everything with demo data; Ctrl-C stops it
	@$(BIN)/looma up --demo $(ARGS)

down: setup ## stop everything that runs on this home
	@$(BIN)/looma down

reset: setup ## delete all data of this home (asks first)
	@$(BIN)/looma reset

test: setup ## the fast tests
	@$(BIN)/python $(TESTS) $(ARGS)

test-all: setup ## all tests, the slow ones too
	@$(BIN)/python $(TESTS) -m "slow or not slow" $(ARGS)

# Named by the parameters of the contract tests, and by the tests that need nothing else; not those
# of the stand-ins (protocol, Refusals), which `make test` runs.
test-servers: setup ## what the tests say of Neo4j, Weaviate and Elasticsearch, at TEST_*_URL
	@$(BIN)/python -m pytest -m "slow or not slow" \
	  -k "(neo4j or weaviate or elasticsearch or real_servers) and not protocol and not Refusals" \
	  tests/contract tests/e2e/test_real_servers.py tests/chaos/test_real_servers.py $(ARGS)

lint: setup ## ruff check, ruff format --check, mypy --strict
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy --strict

fmt: setup ## format, and fix what ruff can fix
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

bench: setup ## one benchmark: make bench NAME=ingest [QUICK=1]
	@$(BIN)/python -m benchmarks $(NAME) $(if $(QUICK),--quick) $(ARGS)

drills: setup ## kill, stop and attack everything under load; a table of outages: make drills [ARGS="redis"]
	@$(BIN)/python -m tests.chaos $(ARGS)

dashboards: setup ## write Grafana's dashboards from monitoring/grafana
	@$(BIN)/python -m monitoring.grafana

# --no-emit-*: the lock names versions, never where this machine found them. The package's own
# line (dev includes its store extras) is dropped for the same reason: it holds a path.
lock: $(BIN)/pip-compile ## compile requirements.txt from pyproject.toml
	@{ \
	  echo '# Exact versions of what Looma AI and its tests need; compiled by `make lock` from pyproject.toml.'; \
	  echo '# torch is not among them: the extras graph-embedding and explain pin it (torch==2.13.0).'; \
	  $(BIN)/pip-compile --quiet --extra dev --strip-extras --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	    --pip-args=--disable-pip-version-check --output-file=- pyproject.toml 2>/dev/null \
	    | grep -E '^[A-Za-z0-9]' | grep -vE '^looma-ai\b'; \
	} > requirements.txt.new
	@mv requirements.txt.new requirements.txt
	@echo "requirements.txt: $$(grep -c == requirements.txt) packages"

$(BIN)/pip-compile:
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-tools
