# run · test · bench · images · charts

CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR

.PHONY: help run build dashboard test soak bench bench-replicas images charts cluster-test bench-cluster

help: ## What each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15

run: dashboard ## Build the program that has all services in it and start one node with the demo; state in ./data
	tests/setup build
	FOGFLOW_DASHBOARD=required cargo build --release --locked --bin fogflow
	$(CARGO_TARGET_DIR)/release/fogflow up $(ARGS)

build: dashboard ## Build all release binaries, a program for each service too
	tests/setup build
	FOGFLOW_DASHBOARD=required cargo build --release --locked --bins

dashboard: ## Build the dashboard
	cd services/designer/dashboard && npm ci --ignore-scripts --no-audit --no-fund && npm run build

test: ## Install what the tests need and run them all
	tests/setup test
	tests/run

soak: ## 400 random faults on replicas of everything (SEED=n repeats a run)
	tests/setup test
	cargo build --workspace --bins --locked
	FOGFLOW_CHAOS_FAULTS=400 $(if $(SEED),FOGFLOW_CHAOS_SEED=$(SEED)) cargo test -p fogflow-tests --locked --test chaos

bench: ## Measure the node beside a bare server; prints the tables of docs/performance.md
	tests/setup build
	bench/run

bench-replicas: ## Measure replicas on PostgreSQL; prints the table of docs/scaling.md
	tests/setup test
	bench/replicas $(ARGS)

images: dashboard ## Container images as OCI archives in target/images
	tests/setup build
	docker/build --out $(CURDIR)/target/images

charts: ## The Helm charts as .tgz and .zip in target/charts
	charts/package $(CURDIR)/target/charts

cluster-test: dashboard ## All tests on a real Kubernetes
	tests/cluster/run $(ARGS)

bench-cluster: dashboard ## How long tasks take on Kubernetes; prints the tables of docs/kubernetes.md
	tests/cluster/bench $(ARGS)
