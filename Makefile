# `make figures` redraws every figure of the default profile; `make test` runs the tests. Both create .venv first.

PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
RUN := PATH="$(BIN):$$PATH"
ALONE := import fcntl, os, sys; file = os.open("Makefile", os.O_RDONLY); fcntl.flock(file, fcntl.LOCK_EX); \
	os.set_inheritable(file, True); os.execvp(sys.argv[1], sys.argv[1:])

.PHONY: figures smoke test survival status verify crate report benchmark gallery animations cluster lint lock clean

figures: $(VENV)/.ready
	$(RUN) snakemake --cores $(CORES)

smoke: $(VENV)/.ready
	$(RUN) snakemake --cores $(CORES) --configfile config/smoke.yaml

test: $(VENV)/.tested

# Tests are run again when something changed that they could depend on; `make retest` runs them anyway.
SOURCES := $(shell find Makefile README.md Snakefile pyproject.toml config envs profiles tests workflow -type f \
	-not -path '*/__pycache__/*' -not -path '*.egg-info/*')
$(VENV)/.tested: $(VENV)/.ready $(SOURCES)
	$(RUN) python -m pytest
	@touch $@

.PHONY: retest
retest: $(VENV)/.ready
	$(RUN) python -m pytest && touch $(VENV)/.tested

# Kills 500 jobs, damages files, and writes the table in README.md: about an hour on two cores.
survival: $(VENV)/.ready
	$(RUN) CENTRALFLOWS_KILLS=500 python -m pytest --survival-table

# Where every run of a profile stands: `make status PROFILE=smoke`.
status: $(VENV)/.ready
	@$(RUN) python -m centralflows status $(PROFILE)

# Everything that a profile has made, held against its seals: `make verify PROFILE=smoke`.
PROFILE ?= default
verify: $(VENV)/.ready
	$(RUN) python -m centralflows verify $(PROFILE)

crate: $(VENV)/.ready
	$(RUN) snakemake --cores $(CORES) crate

report: figures
	$(RUN) snakemake --report report.html

# What each process costs on this machine, some minutes on one core; results/benchmarks/ has JSON, table and figure.
benchmark: $(VENV)/.ready
	$(RUN) snakemake --cores 1 --force benchmark

# The default profile's gallery and pictures, for the README and for readers of the repository.
gallery: figures
	mkdir -p figures/gallery && rm -f figures/gallery/*.png && cp figures/default/*.png figures/gallery/
	sed 's|<img src="|<img src="gallery/|' figures/default/README.md > figures/README.md

animations: $(VENV)/.ready
	$(RUN) snakemake --cores $(CORES) animations

lint: $(VENV)/.ready
	$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) snakefmt --check Snakefile workflow
	$(RUN) snakemake --lint

# What snakemake needs to hand jobs to a scheduler: docs/cluster.md.
cluster: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --requirement envs/cluster.in --constraint envs/requirements.lock
	$(BIN)/python -m pip check

# The lock serves as constraints: installed as requirements it would bring CUDA to machines without a GPU.
# One at a time: another make waits here, and finds it done.
$(VENV)/.ready: envs/requirements.in envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, found " + sys.version + "; give it as make PYTHON=python3.x")'
	@$(PYTHON) -c '$(ALONE)' $(MAKE) --no-print-directory $(VENV)/.installed
	@touch $@

$(VENV)/.installed: envs/requirements.in envs/requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement envs/requirements.in --constraint envs/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	@touch $@

# Needs uv on PATH.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --no-header envs/requirements.in envs/cluster.in \
		--output-file envs/requirements.lock

clean:
	rm -rf results logs benchmarks $(filter-out figures/gallery/,$(wildcard figures/*/))
