# `make demo` and `make test` create the environment and run.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python scripts/install.py

.PHONY: help demo test coverage docs check chaos gpu clean
help:
	@echo "make demo    environment, then the default recipe: train a small audio-language model, offline"
	@echo "make test    environment, then the tests (CPU, no network)"
	@echo "make coverage environment, then the tests with the lines that they run; below 85 % is an error"
	@echo "make docs    environment, then the documentation as a site in build/site, built strictly"
	@echo "make chaos   environment, then fault injection: 100 random kills and stops of two-node runs on this machine, about an hour"
	@echo "make check   environment, then ruff, mypy and codespell"
	@echo "make gpu     no environment: test and measure the GPU with the Python that is there, at most nine minutes; PYTHON=, MINUTES=, OUT="
	@echo "make clean   remove the environment"

.venv/bin/python:
	@echo "making a virtual environment in .venv"
	@$(PYTHON) -m venv .venv

.stamps/demo: pyproject.toml constraints.txt scripts/install.py | .venv/bin/python
	@echo "installing audio-lm and its dependencies (about 2 GB)"
	@$(INSTALL) ".[speech,codecs]"
	@$(BIN)/audio-lm --help > /dev/null
	@mkdir -p .stamps && touch $@

.stamps/test: pyproject.toml constraints.txt scripts/install.py | .venv/bin/python
	@echo "installing audio-lm with the tools of its tests (about 2 GB; a C++ compiler is needed)"
	@$(INSTALL) ".[speech,codecs,test,dev]"
	@$(BIN)/audio-lm --help > /dev/null
	@mkdir -p .stamps && touch $@

.stamps/docs: pyproject.toml constraints.txt scripts/install.py | .venv/bin/python
	@echo "installing audio-lm with the tools of its documentation"
	@$(INSTALL) ".[docs]"
	@mkdir -p .stamps && touch $@

demo: .stamps/demo
	$(BIN)/python train.py recipes/demo.yaml

test: .stamps/test
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

# The tests of the slow mark are not among them.
coverage: .stamps/test
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --cov=audio_lm --cov-report=term --cov-fail-under=85

docs: .stamps/docs
	$(BIN)/python scripts/docs.py

chaos: .stamps/test
	$(BIN)/python -m pytest -q -m chaos tests/chaos --kills=$(or $(KILLS),100) --seed=$(or $(SEED),0) -rA

check: .stamps/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell audio_lm recipes conf docs README.md CONTRIBUTING.md train.py

gpu:
	$(PYTHON) -m audio_lm.cli bench gpu --minutes $(or $(MINUTES),9) --out $(or $(OUT),gpu)

clean:
	rm -rf .venv .stamps
