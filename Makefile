# What people type. `make test` and the rest are below; `./bootstrap` needs none of this.

PYTHON := .venv/bin/python

.PHONY: assets
assets: ## fetch the static tools that worker hosts give to jobs, pinned by hash; idempotent
	@$(PYTHON) -m stacks.assets.fetch
