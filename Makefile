# Two set-up commands for a fresh machine: `make demo` and `make test`. Each makes .venv from the lock and runs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= 2
CONFIG ?= config.yaml
BIN := .venv/bin

# A machine without CUDA can hold a CPU-only wheel of torch in pip's find-links folder. It is used where it exists; then
# torchvision, which has no matching build, is left out. Everywhere else the lock installs the ordinary GPU torch.
WHEELS := $(or $(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))
CPU_WHEEL := $(if $(WHEELS),$(wildcard $(WHEELS)/torch-*cpu*.whl))
UV_INSTALL = $(if $(CPU_WHEEL),UV_FIND_LINKS=$(WHEELS)) $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python \
	$(if $(CPU_WHEEL),--override envs/cpu-overrides.txt)

# Waiting threads must not spin: two torch processes on two cores slow each other many times over.
export OMP_WAIT_POLICY := PASSIVE

# Tests side by side, one file to a process; `make test CORES=8` on a larger machine.
PYTEST = $(BIN)/python -m pytest tests --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder

.PHONY: help install demo heart surfaces bench real test unit coverage torture docs lint format lock clean

help: ## show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: .venv/.installed ## make .venv from the lock

.venv/.installed: envs/lock.txt envs/cpu-overrides.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv==$$(sed -n 's/^uv==//p' envs/bootstrap.txt)
	$(UV_INSTALL) -r envs/lock.txt
	$(UV_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

demo: install ## run the whole chain on the embedded synthetic cohort, to results/report/index.html
	$(BIN)/snakemake --profile workflow/profiles/local --cores $(CORES) --configfile $(CONFIG) -- all

# One synthetic person who is in no cohort, and what `cof` needs to make a heart of two files.
HEART := results/heart
PERSON := {"first": 9001, "train": 0, "validation": 0, "test": 1, "frames": 25, "slices": 10, "matrix": 144}

FORMATS ?= all

heart: install ## one generated heart in every format (FORMATS=page: that alone): a synthetic person's, by weights/bench (minutes)
	$(BIN)/cof phantom --out $(HEART)/phantom --settings '$(PERSON)' --workers 1 --overwrite
	$(BIN)/cof twin --weights weights/bench --ecg $(HEART)/phantom/raw/ecg/* --scan $(HEART)/phantom/raw/cine/* --formats $(FORMATS) --out $(HEART)/twin --overwrite
	@echo "The heart is in $(CURDIR)/$(HEART)/twin: each format in a folder of its name, such as page/twin.html for a browser."

surfaces: ## rebuild the script of the page's 3-D view with node and npm (web/README.md)
	cd web && npm ci --no-audit --no-fund --ignore-scripts && npm run build

bench: install ## the larger synthetic cohort behind docs/science/results.md (hours; resumes where it stopped)
	$(BIN)/snakemake --profile workflow/profiles/local --cores $(CORES) --configfile workflow/config/bench.yaml -- all

# Sheets and phantoms are made once; every training resumes. In the background: nohup make real ACDC=... > real.log 2>&1 &
REAL := results/real

real: install $(REAL)/acdc.csv $(REAL)/population/subjects.csv $(REAL)/enriched/subjects.csv ## labeller, registration and COF on ACDC's patients (ACDC=folder) and phantoms, to results/real (hours; resumes)
	$(BIN)/snakemake --profile workflow/profiles/local --cores $(CORES) --configfile workflow/config/real.yaml -- $(REAL)/labeller $(REAL)/registrations/toppr $(REAL)/models/contracted

$(REAL)/acdc.csv: | install
	$(if $(ACDC),,$(error name the folder of ACDC: make real ACDC=/path/to/acdc))
	$(BIN)/cof sheet acdc "$(ACDC)" --out $@ --overwrite

$(REAL)/%/subjects.csv: | install
	$(BIN)/cof phantom --out $(@D) --settings workflow/config/real_phantoms/$*.yaml --workers $(CORES) --overwrite

test: install lint ## every check and every test
	$(PYTEST)

unit: install ## the fast tests only
	$(PYTEST) -m "not slow"

coverage: install ## the fast tests, and which lines they run: results/coverage/index.html
	$(PYTEST) -m "not slow" --cov=cof --cov-report=term --cov-report=html:results/coverage

torture: install ## the long forms of fuzzing and kill tests (hours; docs/develop/testing.md)
	$(BIN)/python tests/torture/fuzz_ecg.py --inputs 200000
	$(BIN)/python tests/torture/fuzz_cine.py --inputs 20000
	$(BIN)/python tests/torture/kills.py --kills 20
	$(BIN)/python tests/torture/slurm.py

docs: install ## write the reference from the code, and build the site to build/site/index.html
	$(BIN)/python docs/reference/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: install ## formatting, style, types, workflow, privacy
	$(BIN)/ruff check src tests benchmarks weights examples docs
	$(BIN)/ruff format --check src tests benchmarks weights examples docs
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(if $(wildcard .git),git ls-files -z --deduplicate | xargs -0 $(BIN)/cof privacy --history)

format: install ## apply formatting
	$(BIN)/ruff check --fix src tests benchmarks weights examples docs
	$(BIN)/ruff format src tests benchmarks weights examples docs
	$(BIN)/snakefmt Snakefile workflow

lock: install ## renew envs/lock.txt from the installed environment
	$(BIN)/python envs/lock.py > envs/lock.tmp && mv envs/lock.tmp envs/lock.txt

clean: ## remove the environment (results stay)
	rm -rf .venv
