# What a person does with this project; `make` alone lists it. The work is in scripts/.

BINARY := $(or $(CARGO_TARGET_DIR),target)/release/sluicegate
# Arguments for `sluicegate up`, for example: make up ARGS="--help"
ARGS ?=
# And for every target: make setup PYTHON=/path/to/python3, where the first python3 is not the one.

.DEFAULT_GOAL := help
.PHONY: help up test setup build console fmt lint ci clean rust

help: ## Show this list
	@printf 'Sluicegate: event-driven policy enforcer for fleets of agents\n\n'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nNew here? `make up`, then open http://127.0.0.1:8181\n'

up: setup build ## Start everything on this machine: NATS, ClickHouse, worker, sink, console
	@exec $(BINARY) up $(ARGS)

test: rust ## Run all tests, Rust and Python, over real servers
	@scripts/test.sh

setup: ## Install the pinned nats-server and ClickHouse engine into .sluicegate/tools
	@scripts/setup.sh

build: rust console ## Build the release binary
	@cargo build --release --locked

console: ## Build the web console's pages, where there is Node
	@scripts/console.sh

fmt: rust ## Format the Rust code
	@cargo fmt --all

lint: rust ## Check format and lints
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings

ci: ## Run everything that must pass before a change lands
	@bash .ci/run

clean: ## Remove build output and tools; the data in .sluicegate/data stay
	@cargo clean
	@rm -rf .sluicegate/tools .sluicegate/tools.lock

rust:
	@command -v cargo >/dev/null || { \
		printf 'Rust is needed, and there is no cargo on the PATH: install it with rustup (https://rustup.rs).\n' >&2; \
		exit 1; \
	}
