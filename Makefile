# vpcflow-streams. Needs make and Python 3.11 or newer; all else goes into .venv, from the lock files with their hashes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV = $(or $(shell command -v uv 2>/dev/null),$(BIN)/uv)
LOCK = $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock"
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
FUZZ := $(VENV)/.fuzz
BENCH := .venv-bench
DEPLOY := .venv-deploy
HELM_VERSION := v3.22.0
HELM := .tools/helm-$(HELM_VERSION)
SECONDS := 60

SEEDS ?= 20
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup run test check audit format bench bench-check bench-doors recovery growth flame chaos overload soak latency fuzz dashboards schema screenshots docs lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(RUNTIME) ## Install what a run needs; leaves .venv/bin/vpcflow

run: $(RUNTIME) ## Run everything on this machine: vpcflow up $(ARGS)
	$(BIN)/vpcflow up $(ARGS)

test: $(DEV) $(DEPLOY)/.done $(HELM)/.done ## Run all tests: pytest $(ARGS)
	$(BIN)/pytest $(ARGS)

check: $(DEV) ## Lint, formatting, types, imports of the house, bandit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict streams tests deploy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -r streams

audit: $(DEV) ## Ask PyPI for known vulnerabilities of what is locked; fails too where one could not be asked about
	for lock in requirements.lock requirements-dev.lock; do \
		$(BIN)/pip-audit --strict --disable-pip --require-hashes -r $$lock || exit 1; done

format: $(DEV) ## Format the code and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV) $(BENCH)/.done ## Measure speed and memory, ours and others': python -m tests.bench $(BENCH_ARGS)
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

bench-check: $(DEV) ## Has the hot path become slower? python -m tests.bench.check $(BENCH_ARGS), --renew keeps a new limit
	POLARS_MAX_THREADS=1 $(BIN)/python -m tests.bench.check $(BENCH_ARGS)

bench-doors: $(DEV) ## Measure what taking records in costs, by Firehose and by bridge: python -m tests.bench.doors $(BENCH_ARGS)
	$(BIN)/python -m tests.bench.doors $(BENCH_ARGS)

recovery: $(DEV) ## Measure how fast a killed worker is back: python -m tests.bench.recovery $(BENCH_ARGS)
	$(BIN)/python -m tests.bench.recovery $(BENCH_ARGS)

growth: $(DEV) ## Measure what grows with what, for an hour: docs/growth.md, python -m tests.bench.growth $(GROWTH_ARGS)
	$(BIN)/python -m tests.bench.growth --json tests/bench/growth.json --markdown docs/growth.md --plot docs $(GROWTH_ARGS)
	-$(BIN)/python -m tests.bench.sizing

flame: $(DEV) ## Draw where a worker's time goes: docs/img/flame.svg, python -m tests.bench.flame $(FLAME_ARGS)
	$(BIN)/python -m tests.bench.flame $(FLAME_ARGS)

chaos: $(DEV) ## Break things while records stream in, SEEDS times from SEED on: docs/reliability.md
	$(BIN)/python -m tests.chaos --seeds $(SEEDS) --first $(SEED) --markdown docs/reliability.md $(CHAOS_ARGS)

overload: $(DEV) ## Send five times what a worker takes, for ten minutes: docs/LOAD.md, python -m tests.load overload $(LOAD_ARGS)
	$(BIN)/python -m tests.load overload --markdown=docs/LOAD.md $(LOAD_ARGS)

soak: $(DEV) ## Send half of what a worker takes, for two hours: docs/LOAD.md, python -m tests.load soak $(LOAD_ARGS)
	$(BIN)/python -m tests.load soak --markdown=docs/LOAD.md $(LOAD_ARGS)

latency: $(DEV) ## Time records from the broker to /metrics at half load: docs/LOAD.md, python -m tests.load latency $(LOAD_ARGS)
	$(BIN)/python -m tests.load latency --markdown=docs/LOAD.md $(LOAD_ARGS)

fuzz: $(FUZZ) ## Fuzz what takes hostile bytes, SECONDS=60 for each target
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

dashboards: $(DEV) ## Make deploy/grafana/dashboards/*.json anew, from deploy/grafana/dashboards.py
	$(BIN)/python -m deploy.grafana.dashboards

schema: $(DEV) ## Make tests/deploy/schema.json anew, when Grafana's version changes; needs npm
	$(BIN)/python -m tests.deploy.schema

screenshots: $(DEV) ## Take the console's picture anew, with Chromium: docs/img/console.png; six minutes
	$(BIN)/python -m tests.kafka.screenshots

docs: $(RUNTIME) ## Make the generated documents and config/vpcflow.yaml anew
	$(BIN)/python -m streams.docs

lock: $(RUNTIME) ## Resolve the dependencies anew: make lock LOCK_ARGS=--upgrade
	$(LOCK) $(LOCK_ARGS) --group build pyproject.toml -o requirements.lock
	$(LOCK) $(LOCK_ARGS) --group dev -c requirements.lock -o requirements-dev.lock
	$(LOCK) $(LOCK_ARGS) --group fuzz -o requirements-fuzz.lock
	$(LOCK) $(LOCK_ARGS) --group bench -o requirements-bench.lock
	$(LOCK) $(LOCK_ARGS) --group deploy -o requirements-deploy.lock
	echo uv | $(LOCK) $(LOCK_ARGS) - -o requirements-uv.lock

clean: ## Remove what was made: .venv, caches, the tests' Kafka
	rm -rf $(VENV) $(BENCH) $(BENCH).log $(DEPLOY) $(DEPLOY).log .tools dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .fuzz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment, with the first Python that is new enough. uv is taken from PATH, else installed into it.
$(BIN)/python:
	@for python in $(PYTHON) python3.14 python3.13 python3.12 python3.11; do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	done || { echo "make: Python 3.11 or newer is needed; say which: make PYTHON=/path/to/python" >&2; exit 1; }; \
	if command -v uv >/dev/null 2>&1; then uv venv -q --python "$$python" $(VENV); else "$$python" -m venv $(VENV); fi

$(RUNTIME): requirements.lock requirements-uv.lock pyproject.toml | $(BIN)/python
	@test -x "$(UV)" || $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.lock
	$(UV) pip install -q -p $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install -q -p $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	$(UV) pip install -q -p $(BIN)/python --require-hashes -r requirements-dev.lock
	@touch $@

$(FUZZ): requirements-fuzz.lock $(RUNTIME)
	$(UV) pip install -q -p $(BIN)/python --require-hashes -r requirements-fuzz.lock
	@touch $@

# What the benchmark compares with, and what deploy/ is checked with: their needs never meet the project's. Where one
# can't be installed, benchmark and tests run without, say why (the log's last line), and the next one tries again.
$(BENCH)/.done $(DEPLOY)/.done: .venv-%/.done: requirements-%.lock | $(DEV)
	@{ test -x $(@D)/bin/python || $(UV) venv -q --python $(BIN)/python $(@D); } 2>$(@D).log \
		&& $(UV) pip install -q -p $(@D)/bin/python --require-hashes -r $< 2>$(@D).log \
		&& rm -f $(@D).log && touch $@ || cat $(@D).log >&2

# Helm is built by Go, from its module: three minutes, once.
$(HELM)/.done:
	@mkdir -p $(@D)
	@GOBIN=$(CURDIR)/$(@D) go install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION) >$(@D)/log 2>&1 \
		&& touch $@ || tail -1 $(@D)/log >&2
