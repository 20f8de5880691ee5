# The one door to every check. `make test` installs what the tests need and runs everything that CI runs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
# Settings of who runs this are not those of the tests.
export ANSIBLE_CONFIG := /dev/null

.PHONY: help test deps fmt clippy unit doc main-job bench fuzz

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

test: deps fmt clippy unit doc ## install what the tests need, then run everything that CI runs

deps: ## install the real programs that the tests talk to (Debian, root)
	.ci/install-deps

fmt: ## formatting
	$(CARGO) fmt --all --check

clippy: ## lints, warnings denied
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml > /dev/null

unit: ## unit and integration tests
	$(CARGO) test --workspace --locked --lib --bins --tests

doc: ## tests in documentation
	$(CARGO) test --workspace --locked --doc

bench: ## times of whole commands, of large rollouts, and beside ansible-core 2.19 (installed into target/), release build
	$(CARGO) bench --locked --bench whole
	$(CARGO) bench --locked --bench rollouts
	ANSIBLE_PLAYBOOK="$$(.ci/install-ansible)" $(CARGO) bench --locked --bench beside

main-job: ## the main job on the embedded lab, release build
	$(CARGO) run --release --locked -- run playbooks/promote.yml

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= yaml words inventory template

fuzz: ## fuzz targets with libFuzzer, FUZZ_SECONDS each (60); needs a C++ compiler
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target fuzz/artifacts/$$target; \
		RUSTC_WRAPPER=$(CURDIR)/fuzz/rustc $(CARGO) run --locked --manifest-path fuzz/Cargo.toml --bin $$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=16384 -timeout=10 -rss_limit_mb=2048 -seed=1 \
			-artifact_prefix=fuzz/artifacts/$$target/ -dict=fuzz/words.dict \
			fuzz/corpus/$$target fuzz/seeds/$$target tests/language playbooks inventory || exit 1; \
	done
