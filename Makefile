# Every target makes .venv from the lock by itself when it is missing or stale.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.lock-installed
RUN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help venv lock check format test demo pool campaign chaos stack bench

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(STAMP)  ## Make .venv from the hash-pinned lock.

# Brought up to date in place, under a lock: two makes take turns, and what runs from it goes on.
$(STAMP): requirements.lock pyproject.toml
	@mkdir -p .local
	@exec 9>.local/venv.lock; flock 9; [ $@ -nt requirements.lock -a $@ -nt pyproject.toml ] || { set -e; \
	  echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); \
	  $(RUN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
	  $(RUN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	  touch $@; }

lock: $(STAMP)  ## Pin the dependencies anew (needs uv).
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' pyproject.toml -o requirements.lock

check: $(STAMP)  ## Format, lint, types, imports, generated files.
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/millpond generate --check

format: $(STAMP)  ## Format the code and mend what lint can mend.
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

# Much of the suite waits for timeouts and elections: two workers, each with a stack of its own, share the waiting.
WORKERS ?= 2

test: check  ## The whole suite, on a real stack.
	$(RUN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

campaign: $(STAMP)  ## Kill and freeze for long: SEED, KILLS (300), CHANGES (50) of the active one.
	SEED=$${SEED:-$$RANDOM} KILLS=$${KILLS:-300} CHANGES=$${CHANGES:-50} $(RUN)/pytest -s tests/stream/test_kills.py tests/stream/test_takeover.py

demo: $(STAMP)  ## The whole pool: a video in, its renditions out, everybody paid, an audit that agrees. INPUT=any.mp4, CHAOS=scheduler (or another program, kafka, postgres).
	@exec $(RUN)/python -m millpond_demo $(if $(INPUT),--input '$(INPUT)') $(if $(CHAOS),--chaos '$(CHAOS)')

pool: $(STAMP)  ## The same, and stays up until Ctrl-C: says what to type next.
	@exec $(RUN)/python -m millpond_demo --stay $(if $(INPUT),--input '$(INPUT)')

chaos: $(STAMP)  ## The demo under the death of each program in turn, every few seconds.
	@set -e; for victim in edge registry scheduler inspector metering chain_watcher rewards treasury kafka postgres; do \
	  echo "== $$victim"; $(RUN)/python -m millpond_demo --chaos $$victim; done

stack: $(STAMP)  ## Kafka, PostgreSQL and anvil on this machine, until Ctrl-C.
	@exec $(RUN)/millpond stack

bench: $(STAMP)  ## Measure; ONLY=name for one. Prints a table, writes .local/bench.json.
	PYTHONPATH=tests $(RUN)/python -m benchmarks $(ONLY)
