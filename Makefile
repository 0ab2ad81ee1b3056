# The front door. `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
KILLS ?= 50
MINUTES ?= 5
RANDOM_MINUTES ?= 60
FUZZ_SECONDS ?= 60
# What pytest runs; for example make test-end-to-end TESTS=scenario/test_types.py
TESTS ?= scenario crash
# What is worth running again under the sanitizers: what moves data, more than what words are said.
SANITIZED ?= $(addprefix scenario/test_,changes.py types.py restart.py backlog.py)
# Most tests wait more than they work: with three, two cores were idle for half of the time.
WORKERS ?= 5
PYTEST := cd tests && /usr/bin/python3 -m pytest

# A clone in another folder finds the objects that this one compiled.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help deps build program demo test test-found test-random test-slow test-unit test-end-to-end test-sanitize test-sanitize-scenarios lint bench random soak fuzz install package clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps:  ## install what building and testing needs, from Debian and npm
	@tools/deps

build:  ## compile the program and its unit tests into build/release
	@tools/deps build
	@tools/timed "compiling" tools/build release -j $(JOBS)

program:  ## compile what is demonstrated, installed and packed, and nothing else, into build/program
	@tools/timed "compiling what is installed" tools/build program -j $(JOBS)
	@build/program/src/cli/tailrace --version

demo:  ## from nothing to a live mirror of a shop's database, in front of your eyes
	@tools/deps build
	@$(MAKE) --no-print-directory program
	@TAILRACE_BIN=$(CURDIR)/build/program/src/cli/tailrace demo/run

# A database is three hundred files, and most tests make two: on a disk that took a third of their time.
test-end-to-end test-found test-random test-slow test-sanitize-scenarios random: export TAILRACE_SERVERS ?= $(shell tools/memory-folder)

test: deps build program test-unit test-end-to-end test-found test-random test-sanitize test-sanitize-scenarios  ## everything: unit, scenario and crash tests, what random programs found and a set of them, sanitizers; each tier tells its time

test-unit: build  ## unit tests
	@tools/timed "unit tests" ctest --test-dir build/release --output-on-failure -j $(JOBS) --no-tests=error

test-end-to-end: deps build  ## scenario and crash tests against real servers, PostgreSQL 13 to 18
	@TAILRACE_PATIENCE=$${TAILRACE_PATIENCE:-2} tools/timed "scenario and crash tests" bash -c "$(PYTEST) -n $(WORKERS) $(TESTS)"

test-found: deps build  ## the short programs that are left of what random ones found
	@TAILRACE_PATIENCE=$${TAILRACE_PATIENCE:-2} tools/timed "what random programs found" \
	  bash -c "$(PYTEST) -n $(WORKERS) -k found random"

test-random: deps build  ## the first set of random programs: every kind of step, kill point, target and pair of versions
	@TAILRACE_PATIENCE=$${TAILRACE_PATIENCE:-2} tools/timed "the set of random programs" \
	  bash -c "$(PYTEST) -s -k programs random"

test-slow: deps build  ## what make test has no time for: scenario and crash tests into PostgreSQL, random programs for 15 minutes
	@TAILRACE_PATIENCE=$${TAILRACE_PATIENCE:-2} tools/timed "scenario and crash tests into PostgreSQL" \
	  bash -c "$(PYTEST) -n $(WORKERS) --target postgres $(TESTS)"
	@$(MAKE) random MINUTES=15

test-sanitize: deps  ## unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/timed "compiling with sanitizers" tools/build sanitize -j $(JOBS)
	@tools/timed "unit tests, sanitized" \
	  ctest --test-dir build/sanitize --output-on-failure -j $(JOBS) --no-tests=error

test-sanitize-scenarios: test-sanitize  ## the scenario tests that move data, under the same sanitizers
	@tools/timed "scenario tests, sanitized" bash -c '$(PYTEST) -n $(WORKERS) $(SANITIZED) -m "not slow" --sanitized'

lint: deps  ## formatter, clang-tidy, the rules of the house, Python and shell checks
	@tools/build release --configure-only
	@tools/lint

bench: deps  ## measure against pg_recvlogical and COPY
	@tools/build bench -j $(JOBS)
	@bench/run

random: deps build  ## random programs of rows, definitions, restarts and kills; for MINUTES from another seed each time, if given
	@TAILRACE_RANDOM_MINUTES=$(if $(filter command line environment,$(origin MINUTES)),$(MINUTES),0) \
	  TAILRACE_PATIENCE=$${TAILRACE_PATIENCE:-2} tools/timed "random programs" bash -c "$(PYTEST) -s random"

soak: deps build  ## MINUTES of pgbench with KILLS kill -9, then the same with server restarts and cut connections; verify of 10 M rows; an hour of random programs
	@echo "== soak: $(MINUTES) minutes and $(KILLS) kills each"
	@TAILRACE_KILLS=$(KILLS) TAILRACE_MINUTES=$(MINUTES) bash -c '$(PYTEST) -s soak'
	@$(MAKE) random MINUTES=$(RANDOM_MINUTES)

fuzz: deps  ## run every fuzz target for FUZZ_SECONDS
	@tools/build sanitize -j $(JOBS) --target fuzzers
	@tools/fuzz $(FUZZ_SECONDS)

install:  ## build the program alone, and install it with docs, units and monitoring under PREFIX
	@tools/deps build
	@$(MAKE) --no-print-directory program
	@mkdir -p $(DESTDIR)$(PREFIX) 2>/dev/null || true
	@$$([ -w $(DESTDIR)$(PREFIX) ] || echo sudo) cmake --install build/program --prefix $(PREFIX) --strip

package:  ## the same as a Debian package in build/program
	@tools/deps package
	@$(MAKE) --no-print-directory program
	@cd build/program && cpack -G DEB

clean:  ## remove what was built; what tools/deps installed stays
	@rm -rf build
