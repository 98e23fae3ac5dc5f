# Everything runs in .venv, which the first target that needs it builds from constraints.txt.
# Another interpreter: make PYTHON=/path/to/python

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
# pythia8mc has wheels for Linux x86_64 and Python 3.11 to 3.13. Elsewhere nothing is generated:
# the demonstration takes the events that ship with the package.
GENERATE := $(shell $(PYTHON) -c 'import platform, sys; print("generate," if sys.platform == "linux" \
	and platform.machine() == "x86_64" and sys.version_info < (3, 14) else "")' 2>/dev/null)
BIN := .venv/bin
COFFEA := 2026.9.0
WEAVER := 0.5.3

# One thread per process: two spinning OpenMP threads beside a busy neighbour stand still.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help demo test lint types imports docs examples bench bench-io bench-jets bench-attention bench-gat bench-joint bench-part bench-pretrain real-data ci clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

.venv/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "transferline needs Python 3.11 or later: make PYTHON=..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[$(GENERATE)dev,onnx,dask]'
	@touch $@

.venv/.installed-docs: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[$(GENERATE)dev,onnx,dask,docs]'
	@touch $@

demo: .venv/.installed  ## generate, prepare, transfer and report: under five minutes, no download
	env -u OMP_NUM_THREADS $(BIN)/transferline demo --out demo

# Byte code first: tests start many processes, each of which would compile the sources anew where
# PYTHONDONTWRITEBYTECODE is set.
test: .venv/.installed  ## all tests and doctests, two processes with one thread each
	$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/.installed  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed  ## mypy --strict on all of src
	$(BIN)/mypy

imports: .venv/.installed  ## the direction of imports between the rooms
	$(BIN)/lint-imports

examples: .venv/.installed  ## run every script in examples/ on tiny data
	$(BIN)/python -m pytest -n 2 tests/test_examples.py

docs: .venv/.installed-docs  ## build the pages in docs/ into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site
	@echo "wrote build/site/index.html"

bench: .venv/.installed  ## speed and memory of generation, loading and training
	$(BIN)/python benchmarks/speed.py

bench-io: .venv/.installed  ## generation, preparation, loader and memory against targets: ten minutes
	$(BIN)/python -m benchmarks.io

bench-jets: .venv/.installed  ## batches of jets: speed, padding, memory beside what is stated
	$(BIN)/python -m benchmarks.io.jets

bench-gat: .venv/.installed  ## the graph attention network beside PyTorch Geometric's
	$(BIN)/python benchmarks/gat.py

# weaver-core asks for much that training with it wants; its network needs none of that.
.venv/.installed-weaver: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		weaver-core==$(WEAVER)
	@touch $@

bench-part: .venv/.installed-weaver  ## Particle Transformer beside weaver-core's: speed and memory
	$(BIN)/python benchmarks/part.py

bench-attention: .venv/.installed  ## attention within jets: kernels and torch
	$(BIN)/python benchmarks/attention.py

bench-joint: .venv/.installed  ## joint analysis beside jet tagging; frozen beside end to end
	$(BIN)/python benchmarks/joint.py

bench-pretrain: .venv/.installed  ## pre-training and fine-tuning beside the processor's ceiling
	$(BIN)/python benchmarks/pretrain.py

real-data: .real-data/.complete  ## small real NanoAOD files, from the source archive of coffea
.real-data/.complete: | .venv/.installed
	rm -rf .real-data && mkdir -p .real-data/download
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps \
		--no-binary coffea --dest .real-data/download coffea==$(COFFEA)
	tar -xzf .real-data/download/coffea-$(COFFEA).tar.gz -C .real-data --strip-components=3 \
		--wildcards '*/tests/samples/nano_dy.root' '*/tests/samples/nano_tt_v12.root' \
		'*/tests/samples/nano_tt_v15.root' '*/tests/samples/nano_dimuon.root' '*/tests/samples/nano_dy_empty.root'
	rm -r .real-data/download
	@touch $@

ci:  ## what continuous integration runs
	bash .ci/run

clean:  ## remove what the targets built, the environment included
	rm -rf .venv build demo .real-data .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
