# One line each, nothing clever. `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest

.PHONY: help setup dev demo demo-real demo-models demo-eval train-demo real-benchmark bench bench-quick run test test-all test-compose check lint types imports protos protos-check lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/.app ## virtual environment with what runs the product (pinned)
dev: $(VENV)/.dev ## ... and what tests and checks it

$(VENV)/.app: requirements/app.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(VENV)/.dev: requirements/dev.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r $<
	touch $@ $(VENV)/.app

demo: setup ## find the bouts in the three demo videos, then compare with the truth
	$(PY) -m inference_script --input videos --output output/demo
	$(PY) -m training.evaluate --predictions output/demo --truth videos

demo-real: setup ## the same job over real videos beside the checkout (../shared)
	$(PY) -m training.demo_real --output output/demo-real

demo-models: dev ## train the two demo models again (hours on a CPU)
	$(PY) -m training.demo_models

demo-eval: setup ## measure the demo models on 60 further synthetic videos
	$(PY) -m training.demo_eval

train-demo: dev ## from drawn videos and a workbook to new models, every stage of training (minutes)
	$(PY) -m training.train_demo

real-benchmark: dev ## train and judge on real rat clips beside the checkout (../shared), by folds of sessions
	$(PY) -m training.real_benchmark

bench: dev ## measure the reference's way to do the job and ours, at full size (an hour)
	$(PY) -m bench

bench-quick: dev ## ... small, a minute or two
	$(PY) -m bench --quick

run: setup ## analyse INPUT as .env says
	$(PY) -m inference_script

test: dev ## the tests, a few minutes
	$(PYTEST) -m "not slow and not compose"

test-all: dev ## ... and the slow ones
	$(PYTEST) -m "not compose"

test-compose: dev ## build the images and run the whole job in Docker
	$(PYTEST) -m compose

check: lint types imports protos-check ## everything that needs no running

lint: dev
	$(PY) -m ruff check . && $(PY) -m ruff format --check .

types: dev
	$(PY) -m mypy

imports: dev
	$(VENV)/bin/lint-imports

protos: dev ## write mousetal/v1 again from protos/
	$(PY) -m grpc_tools.protoc -I protos --python_out=. --grpc_python_out=. --pyi_out=. protos/mousetal/v1/*.proto

protos-check: dev
	rm -rf build/protos && mkdir -p build/protos
	$(PY) -m grpc_tools.protoc -I protos --python_out=build/protos --grpc_python_out=build/protos --pyi_out=build/protos protos/mousetal/v1/*.proto
	diff -r -x __pycache__ -x __init__.py build/protos/mousetal/v1 mousetal/v1

lock: dev ## resolve requirements/*.in again
	$(PY) requirements/lock.py

clean: ## remove what was made here, not your results
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
