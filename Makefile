# `make figures` makes every figure of the default profile; `make test` runs the tests. Both create .venv first.

PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
RUN := PATH="$(BIN):$$PATH"
ALONE := import fcntl, os, sys; file = os.open("Makefile", os.O_RDONLY); fcntl.flock(file, fcntl.LOCK_EX); \
	os.set_inheritable(file, True); os.execvp(sys.argv[1], sys.argv[1:])

.PHONY: figures smoke test survival status verify crate report benchmark gallery cluster gauntlet lint lock clean

figures: $(VENV)/.ready
	$(RUN) snakemake --cores $(CORES)

smoke: $(VENV)/.ready
	$(RUN) snakemake --cores $(CORES) --configfile config/smoke.yaml

test: $(VENV)/.tested

# Runs the tests if a file changed on which they could depend. `make retest` always runs them.
SOURCES := $(shell find Makefile README.md Snakefile pyproject.toml config envs profiles tests workflow -type f \
	-not -path '*/__pycache__/*' -not -path '*.egg-info/*')
$(VENV)/.tested: $(VENV)/.ready $(SOURCES)
	$(RUN) python -m pytest
	@touch $@

.PHONY: retest
retest: $(VENV)/.ready
	$(RUN) python -m pytest && touch $(VENV)/.tested

# Kills 500 jobs, damages files, and writes the table in README.md. Takes about an hour on two cores.
survival: $(VENV)/.ready
	$(RUN) CENTRALFLOWS_KILLS=500 python -m pytest --survival-table

# Shows the state of every run of a profile: `make status PROFILE=smoke`.
status: $(VENV)/.ready
	@$(RUN) python -m centralflows status $(PROFILE)

# Verifies all outputs of a profile against their manifests: `make verify PROFILE=smoke`.
PROFILE ?= default
verify: $(VENV)/.ready
	$(RUN) python -m centralflows verify $(PROFILE)

crate: $(VENV)/.ready
	$(RUN) snakemake --cores $(CORES) crate

report: figures
	$(RUN) snakemake --report report.html

# Measures the cost of each process on this machine: JSON, table and figure in results/benchmarks/. Takes some minutes
# on one core.
benchmark: $(VENV)/.ready
	$(RUN) snakemake --cores 1 --force benchmark

# Copies the gallery and the pictures of the default profile into the repository, where the README shows them.
gallery: figures
	mkdir -p figures/gallery && rm -f figures/gallery/* && cp figures/default/*.png figures/default/*.gif figures/gallery/
	sed 's|<img src="|<img src="gallery/|' figures/default/README.md > figures/README.md

lint: $(VENV)/.ready
	$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) snakefmt --check Snakefile workflow
	$(RUN) lint-imports && $(RUN) snakemake --lint

# Installs Snakemake's plugins for schedulers (docs/cluster.md).
cluster: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --requirement envs/cluster.in --constraint envs/requirements.lock
	$(BIN)/python -m pip check

# Installs torchvision, timm and transformers, on whose networks tests/gauntlet tries the library.
gauntlet: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --requirement envs/gauntlet.in --constraint envs/requirements.lock
	$(BIN)/python -m pip check

# The lock serves as constraints. Installed as requirements, it would bring CUDA to machines without a GPU.
# Only one make installs at a time ($(ALONE)): a second one waits here, then finds the installation complete.
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

# Updates the lock. Needs uv on PATH.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --no-header envs/requirements.in envs/cluster.in \
		envs/gauntlet.in --output-file envs/requirements.lock

clean:
	rm -rf results logs $(filter-out figures/gallery/,$(wildcard figures/*/))
