# `make table` and `make test` need Python 3.11 or newer and make; they set up .venv by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
S3PRL_VENV ?= .venv-s3prl
DOCS_VENV ?= .venv-docs
CORES ?= all
# one line of progress; V=1 shows all messages of Snakemake and of the jobs
V ?=
SHOW = $(if $(filter-out 0,$(V)),,--logger speechladder)
# what pip needs to find another build of torch, e.g. the CPU one of 200 MB: TORCH_ARGS="--index-url ..."
TORCH_ARGS ?=
# how many models each rung of `make table` gets, with the seeds 0, 1, ...; the intervals then hold seeds and items
SEEDS ?= 1
SEED_LIST = $(shell seq -s , 0 $$(($(SEEDS) - 1)) 2>/dev/null)
PIP := tools/pip-25.3-py3-none-any.whl
export PATH := $(abspath $(BIN)):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
# The folder of a diagnosis is .work/diagnose/NAME; only a NAME of the command line counts, since some shells have another.
GIVEN_NAME = $(if $(findstring command,$(origin NAME)),$(NAME))
DIAGNOSIS = .work/diagnose/$(or $(GIVEN_NAME),units)
.PHONY: check-seeds check-name
.PHONY: help docs table causes questions smoke plan audit stages diagnose diagnose-audio entry leaderboard s3prl test test-s3prl test-cluster lint configuration report clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 24

# torch comes first and pinned, so that nothing that follows replaces it.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "speechladder needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version 2>&1); run: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv' 2>/dev/null || \
	  { echo "$(PYTHON) lacks the venv module: install python3-venv, or name another interpreter: make PYTHON=... $(MAKECMDGOALS)"; exit 1; }
# Debian's python3 has no pip and no ensurepip unless root installs python3-venv: then pip comes from tools/
	@test -x $(BIN)/pip || { $(PYTHON) -c 'import ensurepip' 2>/dev/null && $(PYTHON) -m venv $(VENV); } || \
	  { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(BIN)/python $(PIP)/pip install -q --no-index $(PIP); }
	@echo "installing into $(VENV) (once, about two minutes)"
	$(BIN)/python -m pip install -q $(TORCH_ARGS) $$(grep '^torch==' requirements.lock)
	$(BIN)/python -m pip install -q -r requirements.lock
	$(BIN)/python -m pip install -q --no-deps -e .
	@touch $@

$(VENV)/.installed-test: requirements-test.lock $(VENV)/.installed
	$(BIN)/python -m pip install -q -r requirements-test.lock
	@touch $@

# s3prl needs torchaudio, which breaks transformers beside a CPU torch: an environment of its own.
$(S3PRL_VENV)/.installed: requirements-s3prl.lock | $(VENV)/.installed
	@echo "installing s3prl into $(S3PRL_VENV) (once, about a minute)"
	$(BIN)/python -m venv --clear --without-pip $(S3PRL_VENV)
	$(BIN)/python -m pip --python $(S3PRL_VENV)/bin/python install -q $(TORCH_ARGS) $$(grep '^torch==' requirements-s3prl.lock)
	$(BIN)/python -m pip --python $(S3PRL_VENV)/bin/python install -q -r requirements-s3prl.lock
	@touch $@

# MkDocs shares no package with the run, and needs neither torch nor the rest.
$(DOCS_VENV)/.installed: requirements-docs.lock
	$(PYTHON) -m venv --clear --without-pip $(DOCS_VENV)
	$(DOCS_VENV)/bin/python $(PIP)/pip install -q -r requirements-docs.lock
	@touch $@

# The plugin is not installed into the environment: there it would cost each start of Snakemake 10 s on a machine that has SLURM's
# commands but no controller. --no-deps: all that it needs is in requirements.lock.
.work/slurm/.installed: requirements-cluster.lock $(VENV)/.installed-test
	$(BIN)/python -m pip install -q --no-deps --upgrade --target .work/slurm -r requirements-cluster.lock
	@touch $@

table: check-seeds $(VENV)/.installed ## run the default: results/report.html, table.csv and figures (about ten minutes on 2 cores; SEEDS=3 for three models per rung)
	snakemake results/table.csv results/report.html --cores $(CORES) $(SHOW) $(if $(filter-out 1,$(SEEDS)),--config lm='{seeds: [$(SEED_LIST)]}')
	@python scripts/print_table.py --results results

causes: check-seeds $(VENV)/.installed ## what factor C is made of: results/causes.csv and bit_budget.csv (SEEDS as for table)
	snakemake results/causes.csv --cores $(CORES) $(SHOW) $(if $(filter-out 1,$(SEEDS)),--config lm='{seeds: [$(SEED_LIST)]}')
	@python scripts/print_causes.py --results results

questions: check-seeds $(VENV)/.installed ## the paper's open questions: results/questions.csv (SEEDS as for table)
	snakemake results/questions.csv --cores $(CORES) $(SHOW) $(if $(filter-out 1,$(SEEDS)),--config lm='{seeds: [$(SEED_LIST)]}')
	@echo "Table:  results/questions.csv (docs/artefacts.md has its columns)"; echo "Figure: results/figures/questions.png"

# UNITS (and ARGS of entry) reach the script through the environment, so that their quotes, braces and $ stay as they are.
diagnose entry: export SPEECHLADDER_UNITS = $(value UNITS)
diagnose: check-name $(VENV)/.installed ## what a tokenizer keeps and where it loses: make diagnose UNITS='{layer: 2}' [NAME=mine] [ARGS=...] (under ten minutes)
	@python scripts/read_units.py --units="$$SPEECHLADDER_UNITS" --out "$(DIAGNOSIS)/units.json"
	snakemake results/diagnosis.html --cores $(CORES) $(SHOW) --configfile presets/diagnose.yaml "$(DIAGNOSIS)/units.json" --directory "$(DIAGNOSIS)" $(ARGS)
	@echo "Page:    $(DIAGNOSIS)/results/diagnosis.html"; echo "Figures: $(DIAGNOSIS)/results/diagnosis.json"

diagnose-audio: check-name $(VENV)/.installed ## the audio that your own tokenizer encodes for make diagnose (docs/your-tokenizer.md)
	snakemake results/diagnosis/export --cores $(CORES) $(SHOW) --configfile presets/diagnose.yaml --directory "$(DIAGNOSIS)" $(ARGS)
	@echo "Encode: $(DIAGNOSIS)/results/diagnosis/export/audio.jsonl"

check-name entry: export SPEECHLADDER_NAME = $(GIVEN_NAME)
check-name:
	@case "$$SPEECHLADDER_NAME" in *[!a-z0-9-]*) echo "NAME=$$SPEECHLADDER_NAME: write small letters, digits and hyphens, such as NAME=layer2"; exit 1;; esac

check-seeds:
	@case "$(SEEDS)" in ''|*[!0-9]*|0*) echo "SEEDS=$(SEEDS): give a whole number of models per rung, such as SEEDS=3"; exit 1;; esac

smoke: $(VENV)/.installed ## run the same workflow in under two minutes, for a first look (results in .work/smoke)
	snakemake results/table.csv results/report.html --cores $(CORES) $(SHOW) --configfile presets/smoke.yaml --directory .work/smoke
	@python scripts/print_table.py --results .work/smoke/results

plan: $(VENV)/.installed ## say what a run would take, before anything is spent: make plan PRESET=paper
	@python scripts/plan.py $(if $(PRESET),--preset $(PRESET)) $(ARGS)

audit: $(VENV)/.installed ## compare a corpus with the disk: make audit PRESET=libriheavy-small [ARGS="--config ..."]
	snakemake results/corpus/audit.json --cores $(CORES) $(if $(PRESET),--configfile presets/$(PRESET).yaml) $(ARGS)

stages: $(VENV)/.installed ## list each stage with what it makes and needs: make stages [PRESET=paper] [ARGS="--config ..."]
	@python scripts/list_stages.py $(if $(PRESET),--preset $(PRESET)) $(ARGS)

entry: export SPEECHLADDER_ARGS = $(value ARGS)
entry: check-name $(VENV)/.installed ## an entry of the leaderboard: make entry NAME=mine UNITS='{layer: 2}' [RUNG=speech-hubert] (about ten minutes on 2 cores with hubert-micro)
	@python scripts/run_entry.py --name "$$SPEECHLADDER_NAME" --units="$$SPEECHLADDER_UNITS" $(if $(RUNG),--rung "$(RUNG)") --cores $(CORES) \
	  --args="$(SHOW) $$SPEECHLADDER_ARGS"

leaderboard: $(VENV)/.installed ## compute docs/leaderboard.md again from leaderboard/entries
	@python scripts/write_leaderboard.py

s3prl: $(S3PRL_VENV)/.installed ## install the environment of units.source: s3prl into .venv-s3prl

test: $(VENV)/.installed-test ## run every test (about twenty minutes on 2 cores)
	python -m pytest -n 2 --dist loadgroup tests

test-s3prl: $(S3PRL_VENV)/.installed $(VENV)/.installed-test ## compare s3prl with transformers, in both environments
	S3PRL_PYTHON=$(abspath $(S3PRL_VENV)/bin/python) python -m pytest tests/e2e/test_s3prl.py

test-cluster: .work/slurm/.installed ## run the preset smoke through a real SLURM on this machine (root; apt-get install slurm-wlm munge)
	PYTHONPATH=$(abspath .work/slurm) SPEECHLADDER_TEST_CLUSTER=1 python -m pytest tests/cluster

lint: $(VENV)/.installed-test ## check the style: ruff, snakefmt, snakemake --lint
	ruff check .
	ruff format --check src scripts tests recipes benchmarks
	snakefmt --check Snakefile workflow
	snakemake --lint

configuration: $(VENV)/.installed ## write config/config.yaml and its documentation from the settings
	python scripts/make_config_docs.py

report: $(VENV)/.installed ## write Snakemake's own report of a finished run, with every job: results/snakemake_report.html
	snakemake results/report.html --cores $(CORES) --report results/snakemake_report.html

docs: $(DOCS_VENV)/.installed ## build the documentation as a site in site/, links checked (with results/report.html if it is there)
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict
	@echo "Open site/index.html, or with a search: python3 -m http.server -d site"

clean: ## remove the default run's results
	rm -rf results .snakemake
