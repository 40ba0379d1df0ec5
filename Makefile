# The developer's whole interface. Everything that is needed is installed below .venv; Debian's packages by apt.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
OLDER := 2.18
V := .venv
ROOT := $(shell id -u | grep -qx 0 || echo sudo -n)
export PYTHONDONTWRITEBYTECODE := 1
export LANG := C.UTF-8
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export BUILDAH_ISOLATION := chroot

PACKAGES := docker-registry podman buildah skopeo busybox-static apache2-utils openssl shellcheck python3-venv git
# For a Zuul: what its Ansible 9 and 11 are made of.
ZUUL_PACKAGES := zookeeper postgresql bubblewrap openssh-client libnetty-java liblog4j1.2-java libslf4j-java
ZUUL_ANSIBLE := 9:2.16 11:2.18
# The collection, where each environment's Ansible finds it.
LINK = site=$$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	mkdir -p "$$site/ansible_collections/gating" && ln -sfn "$(CURDIR)" "$$site/ansible_collections/gating/containers"
PATH_OF = PATH=$(CURDIR)/$(V)/$(1)/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

.PHONY: help demo test lint unit integration test-zuul bench clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: $(V)/system $(V)/newest/done ## build, upload, promote and mirror real images on registries of its own
	@$(call PATH_OF,newest) ANSIBLE_CALLBACK_RESULT_FORMAT=yaml ANSIBLE_LOCALHOST_WARNING=false \
		ANSIBLE_INVENTORY_UNPARSED_WARNING=false ansible-playbook gating.containers.demo

test: lint unit integration ## lint, unit tests and integration tests

lint: $(V)/system $(V)/newest/done $(V)/$(OLDER)/done $(V)/lint/done ## ansible-lint, ruff, the documentation, ansible-test sanity
	$(call PATH_OF,lint) ansible-lint --offline --nocolor
	$(V)/lint/bin/ruff check --quiet .
	$(V)/lint/bin/ruff format --quiet --check .
	$(V)/lint/bin/antsibull-changelog lint
	$(call PATH_OF,lint) antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck --validate-collection-refs self .
	$(V)/lint/bin/python tests/docs.py --check
	tests/sanity.sh $(V)/$(OLDER)
	tests/sanity.sh $(V)/newest

unit: $(V)/newest/done
	$(V)/newest/bin/python -m pytest --quiet tests/unit

integration: $(V)/system $(V)/newest/done $(V)/$(OLDER)/done $(V)/zuul-registry/done $(V)/lint/done $(V)/go/done
	GATING_TEST_VENVS=$(CURDIR)/$(V)/$(OLDER):$(CURDIR)/$(V)/newest \
	GATING_TEST_ZUUL_REGISTRY=$(CURDIR)/$(V)/zuul-registry/bin/zuul-registry \
	GATING_TEST_DISTRIBUTION=$$([ ! -x $(V)/go/registry ] || echo $(CURDIR)/$(V)/go/registry) \
	GATING_TEST_OLAREG=$$([ ! -x $(V)/go/olareg ] || echo $(CURDIR)/$(V)/go/olareg) \
	GATING_TEST_ZOT=$$([ ! -x $(V)/go/zot ] || echo $(CURDIR)/$(V)/go/zot) \
	GATING_TEST_BUILD=$(CURDIR)/$(V)/lint/bin/python \
	$(V)/newest/bin/python -m pytest --quiet tests/integration

test-zuul: $(V)/zuul/done $(V)/newest/done $(V)/zuul-registry/done ## follow changes through a real Zuul, from check to publication
	GATING_TEST_ZUUL=$(CURDIR)/$(V)/zuul GATING_TEST_ZUUL_ANSIBLE=$(CURDIR)/$(V)/zuul-ansible \
	GATING_TEST_ZUUL_REGISTRY=$(CURDIR)/$(V)/zuul-registry/bin/zuul-registry \
	$(V)/newest/bin/python -m pytest --quiet tests/zuul

bench: $(V)/system $(V)/newest/done $(V)/go/peers ## compare with skopeo, crane and regctl; BENCH='--rounds 1 --size 8' for a short one
	$(call PATH_OF,newest):$(CURDIR)/$(V)/go $(V)/newest/bin/python tests/bench.py --output docs/benchmarks.md $(BENCH)

clean: ## remove what was installed and made here
	rm -rf $(V) .ansible .hypothesis tests/output

$(V)/system:
	@mkdir -p $(V)
	missing=$$(for package in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; done); \
	if [ -n "$$missing" ]; then \
		$(ROOT) apt-get update -qq; \
		$(ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing crun uidmap; \
		if [ -d /run/systemd/system ] && grep -qw docker-registry <<< "$$missing"; then \
			: "Debian starts it as a service, which nobody asked for."; \
			$(ROOT) systemctl disable --quiet --now docker-registry; \
		fi; \
	fi
	touch $@

$(V)/newest/done: tests/requirements.txt | $(V)/system
	$(PYTHON) -m venv $(V)/newest
	$(V)/newest/bin/pip install --quiet --upgrade ansible-core -r tests/requirements.txt
	$(call LINK,$(V)/newest)
	touch $@

$(V)/$(OLDER)/done: tests/requirements.txt | $(V)/system
	$(PYTHON) -m venv $(V)/$(OLDER)
	$(V)/$(OLDER)/bin/pip install --quiet 'ansible-core==$(OLDER).*' -r tests/requirements.txt
	$(call LINK,$(V)/$(OLDER))
	touch $@

$(V)/lint/done: tests/requirements-lint.txt | $(V)/system
	$(PYTHON) -m venv $(V)/lint
	$(V)/lint/bin/pip install --quiet -r tests/requirements-lint.txt
	$(call LINK,$(V)/lint)
	touch $@

$(V)/zuul-registry/done: | $(V)/system
	$(PYTHON) -m venv $(V)/zuul-registry
	$(V)/zuul-registry/bin/pip install --quiet zuul-registry
	touch $@

$(V)/zuul-system: | $(V)/system
	missing=$$(for package in $(ZUUL_PACKAGES); do dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; done); \
	if [ -n "$$missing" ]; then \
		$(ROOT) apt-get update -qq; \
		$(ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
		if [ -d /run/systemd/system ] && grep -qw postgresql <<< "$$missing"; then \
			: "Debian starts a cluster, which nobody asked for."; \
			$(ROOT) systemctl disable --quiet --now postgresql; \
		fi; \
	fi
	touch $@

# The sandbox of Zuul's jobs sees what is below /usr, hence the system's Python for its Ansibles.
$(V)/zuul/done: | $(V)/zuul-system
	$(PYTHON) -m venv $(V)/zuul
	$(V)/zuul/bin/pip install --quiet zuul==14.3.0 zuul-client==14.0.0
	for pair in $(ZUUL_ANSIBLE); do \
		/usr/bin/python3 -m venv $(V)/zuul-ansible/$${pair%%:*}; \
		$(V)/zuul-ansible/$${pair%%:*}/bin/pip install --quiet "ansible-core==$${pair##*:}.*" google-re2 voluptuous requests PyYAML jmespath; \
	done
	touch $@

# Registries that are not packaged are built where Go is present. Some sums of what zot needs are known to zot only.
$(V)/go/done: tests/zot.mod | $(V)/system
	mkdir -p $(V)/go/zot.build
	cp tests/zot.mod $(V)/go/zot.build/go.mod
	if command -v go > /dev/null; then GOBIN=$(CURDIR)/$(V)/go go install github.com/distribution/distribution/v3/cmd/registry@v3.0.0; \
		cd $(V)/go && printf 'module olareg\ngo 1.22\nrequire github.com/olareg/olareg v0.1.2\n' > go.mod && \
		GOFLAGS=-mod=mod go build -o olareg github.com/olareg/olareg/cmd/olareg; \
		{ cd zot.build && zot=$$(go mod download -json github.com/project-zot/zot@v1.4.3 | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') && \
		install -m 644 "$$zot/go.sum" go.sum && \
		CGO_ENABLED=0 GOFLAGS=-mod=mod go build -tags containers_image_openpgp -o ../zot zotregistry.io/zot/cmd/zot; } || \
		echo 'zot could not be built: the tests on it are skipped' >&2; fi
	touch $@

# The tools to compare with that Debian has not.
$(V)/go/peers: | $(V)/system
	mkdir -p $(V)/go
	if command -v go > /dev/null; then \
		GOBIN=$(CURDIR)/$(V)/go go install github.com/google/go-containerregistry/cmd/crane@v0.20.2; \
		GOBIN=$(CURDIR)/$(V)/go go install github.com/regclient/regclient/cmd/regctl@v0.8.3; \
	fi
	touch $@
