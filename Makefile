# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python scripts/install.py

.PHONY: help demo test check chaos clean
help:
	@echo "make demo    environment, then the default recipe: an audio-language model from nothing, offline"
	@echo "make test    environment, then the tests (CPU, no network)"
	@echo "make chaos   100 random kills, and every other way to end a run: two nodes on this machine, about an hour"
	@echo "make check   environment, then ruff, mypy and codespell"
	@echo "make clean   forget the environment"

.venv/bin/python:
	@echo "making a virtual environment in .venv"
	@$(PYTHON) -m venv .venv

.stamps/demo: pyproject.toml constraints.txt scripts/install.py | .venv/bin/python
	@echo "installing audio-lm and what it stands on (about 2 GB)"
	@$(INSTALL) ".[speech,codecs]"
	@$(BIN)/audio-lm --help > /dev/null
	@mkdir -p .stamps && touch $@

.stamps/test: pyproject.toml constraints.txt scripts/install.py | .venv/bin/python
	@echo "installing audio-lm with its tests' tools (about 2 GB; a C++ compiler is needed)"
	@$(INSTALL) ".[speech,codecs,test,dev]"
	@$(BIN)/audio-lm --help > /dev/null
	@mkdir -p .stamps && touch $@

demo: .stamps/demo
	$(BIN)/python train.py recipes/demo.yaml

test: .stamps/test
	$(BIN)/python -m pytest -q

chaos: .stamps/test
	$(BIN)/python -m pytest -q -m chaos tests/chaos --kills=$(or $(KILLS),100) --seed=$(or $(SEED),0) -rA

check: .stamps/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell audio_lm recipes conf docs README.md CONTRIBUTING.md train.py

clean:
	rm -rf .venv .stamps
