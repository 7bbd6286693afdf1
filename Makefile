# The two commands: `make run` trains, evaluates and registers the demo model; `make test` runs all checks.
# Both make the environment in .venv first, once.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONFIG ?= configs/demo.yaml
PORT ?= 8237
TEST_PROCESSES ?= 2
IMAGE ?= reason2decide:0.1.0

# One thread: small matrices gain little from a second, and lose a lot where a core is shared; and it fixes the bits.
export OMP_NUM_THREADS ?= 1

# No phoning home, no browser window, no hub unless asked for; bytecode is kept, or every command compiles anew.
export ZENML_ANALYTICS_OPT_IN = false
export ZENML_AUTO_OPEN_DASHBOARD = false
export GX_ANALYTICS_ENABLED = false
export MLFLOW_DISABLE_TELEMETRY = true
export DO_NOT_TRACK = true
export UV_FIND_LINKS := $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS))
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-simulations test-cluster test-cluster-real image smoke bench lint setup dashboard lock clean

run: $(READY)  ## train, evaluate and register the demo model (CONFIG=... for another run)
	$(BIN)/zenml pipeline run reason2decide --config $(CONFIG)

test: lint  ## lint, types and all tests that need no GPU and no cluster
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-simulations: $(READY)  ## the rates of the tables in docs/evaluation.md and docs/retraining.md, by hundreds of invented studies
	$(BIN)/pytest -m simulation -s --timeout 3600 tests/gate tests/evaluation

test-cluster: $(READY)  ## the pipeline by ZenML's Kubernetes orchestrator on the test cluster; needs Debian's bubblewrap
	$(BIN)/pytest -m cluster --timeout 3600 tests/kubernetes

test-cluster-real: $(READY)  ## the same story on a real control plane, compiled here once (tests/kubernetes/control_plane)
	sh tests/kubernetes/control_plane/build.sh $(BIN)/python
	$(BIN)/pytest -m real_cluster --timeout 3600 tests/kubernetes/test_real_control_plane.py

image:  ## the image of every pod; needs buildah (TORCH_INDEX=... another index for torch, BASE=... another base)
	buildah build --file k8s/Dockerfile --build-arg COMMIT=$$(git rev-parse HEAD) \
		$(foreach word,TORCH_INDEX BASE,$(if $($(word)),--build-arg $(word)=$($(word)))) --tag $(IMAGE) .

smoke:  ## that image as a pod runs it: no root, no writing, no capabilities, no network; needs podman
	podman run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --network none $(IMAGE)

bench: $(READY)  ## speed and memory, as tables
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.validation
	$(BIN)/python -m benchmarks.batch_inference
	$(BIN)/python -m benchmarks.privacy

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(READY)  ## the environment alone

dashboard: $(READY)  ## the local ZenML dashboard, on loopback
	$(BIN)/zenml login --local --port $(PORT)

lock: $(READY)  ## resolve requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --no-header --no-emit-find-links --no-emit-index-url --extra dev --extra cluster --extra signing --upgrade-package torch \
		--python-version 3.11 pyproject.toml --output-file requirements.lock
	sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.lock

clean:  ## remove the environment and the tools' caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed; found " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$$(grep '^uv==' requirements.lock)"
	$(BIN)/uv pip sync --quiet --compile-bytecode requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --editable .
	test -d .zen || $(BIN)/zenml init
	touch $@
