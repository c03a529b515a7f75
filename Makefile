# What people type. `make test` and the rest are below; `./bootstrap` needs none of this.

PYTHON := .venv/bin/python

.PHONY: assets
assets: ## fetch the static tools that worker hosts give to jobs, pinned by hash; idempotent
	@$(PYTHON) -m stacks.assets.fetch

.PHONY: requirements
requirements: set-up ## what the orchestrator's host installs, from uv.lock; after the lock has changed
	@.venv/bin/uv export --quiet --frozen --no-dev --no-emit-project --no-header --no-annotate \
		--output-file stacks/assets/host/requirements.txt

.PHONY: set-up
set-up: ## make .venv and node_modules what the lock files say; ./bootstrap does the same
	@set -eu; . ./.setup.sh; set_up

# Two at a time: the acceptance tests start AWS, databases and jobs of their own.
PYTEST = set -eu; . ./.setup.sh; .venv/bin/pytest -n 2 --dist loadgroup

.PHONY: test
test: set-up ## everything that CI asks for: style, types, rooms, tests
	@$(MAKE) --no-print-directory assets check
	@$(PYTEST) -m "not slow" $(ARGS)

.PHONY: test-all
test-all: set-up ## the long ones too
	@$(MAKE) --no-print-directory assets check
	@$(PYTEST) $(ARGS)

.PHONY: check
check: ## style, types, and who may import whom
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --quiet --check .
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/lint-imports --no-logo 2>/dev/null | tail -n 2
	@.venv/bin/lint-imports >/dev/null 2>&1

.PHONY: format
format: ## make the style right
	@.venv/bin/ruff check --quiet --fix . ; .venv/bin/ruff format --quiet .
