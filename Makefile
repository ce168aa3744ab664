# Earnest. `make` lists what there is to do; everything runs in its own .venv.
#
# Nothing here needs more than Debian, make and a Python from 3.11 to 3.13. All paths are
# relative, so that the checkout may live under a path with spaces.

SHELL := /bin/sh
.DEFAULT_GOAL := help

PORT ?= 8000
QUICK ?=
MODULES ?=
JOBS ?= 1
AGAIN ?=
VENV := .venv
PY := $(VENV)/bin/python
TESTS ?= tests
PYTEST := $(PY) -m pytest -n auto --dist worksteal
SOURCES := src tests clients $(wildcard bench mutants)
MIGRATIONS := $(wildcard src/earnest/migrations/[0-9]*.sql)

# Debian's PostgreSQL, where this machine has it: what talks to the database runs on it, too.
DEBIAN_PG15 := $(wildcard /usr/lib/postgresql/15/bin/initdb)
PG15_TESTS := $(wildcard $(addprefix tests/test_,$(addsuffix .py,\
	migrations migration_locks migration_rules pool door grouping races rollup chart \
	audit_chain verify verify_forgeries life)))

.PHONY: help setup demo serve test lint check bench nightly mutants bare docs pins

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv and install everything, pinned by hash (skipped when up to date)
	@sh .ci/setup

demo: setup ## serve a seeded story: make demo PORT=8000
	@exec $(PY) -m earnest demo --port $(PORT)

serve: setup ## serve with an empty database under ./data: make serve PORT=8000
	@exec $(PY) -m earnest serve --port $(PORT) --data data

test: setup ## all tests: make test TESTS=tests/test_embedded.py
ifeq ($(TESTS),tests)
	$(if $(DEBIAN_PG15),$(PYTEST) --pg15 $(PG15_TESTS))
endif
	$(PYTEST) $(TESTS)

lint: setup ## format, lint, types, SQL
	$(PY) -m ruff format --check $(SOURCES)
	$(PY) -m ruff check $(SOURCES)
	$(PY) -m mypy
	$(if $(MIGRATIONS),$(PY) -m sqlfluff lint --nocolor --disable-progress-bar $(MIGRATIONS))

check: lint test ## what CI runs: lint, then test

bench: setup ## measure against pgbench and peers: make bench, QUICK=1 in two minutes, FULL=1
	@sh .ci/peers
	QUICK=$(QUICK) $(PY) -m bench

nightly: setup ## the tests with ten times the random runs, and 200 kills under load
	@rm -f build/kill-campaign.json
	EARNEST_TEST_PROFILE=nightly $(PYTEST) --timeout 3600 $(TESTS)
	@test ! -f build/kill-campaign.json || cat build/kill-campaign.json

mutants: setup ## mistakes that no test notices: make mutants MODULES=domain.money QUICK=1
	$(PY) -m mutants -j $(JOBS) $(if $(QUICK),-q) $(if $(AGAIN),-s) $(MODULES)

bare: ## demo and test on a Debian with python3.11 and make only (as root, with debootstrap)
	@sh .ci/bare

docs: setup ## regenerate what is generated: schema.sql, docs, the API's examples
	$(PY) -m earnest docs

pins: setup ## compile requirements/*.txt anew from the *.in files (needs the network)
	@sh .ci/pins
