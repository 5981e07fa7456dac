# `make check` is the everyday command: offline once the modules are there.
# `make help` lists the targets. Tools are pinned in tools/go.mod.

GO        ?= go
PYTHON    ?= python3
TOOL      := $(GO) tool -modfile=tools/go.mod
LINT      := $(GO) tool -modfile=tools/lint/go.mod
VENV      := .venv
BIN       := dist/sagekeep$(shell $(GO) env GOEXE)
SOPS      := dist/sops$(shell $(GO) env GOEXE)
FUZZTIME  ?= 20s
BENCH     ?= .
COUNT     ?= 1
TESTFLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help build release check format vet staticcheck fix deadcode tidy cross cross-vet test fips generate generate-check e2e bench fuzz lint \
	vulncheck nightly clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the static binary, in dist/
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/sagekeep

release: ## the binary with the certified FIPS 140-3 module of Go, in dist/; FIPS mode is on in it
	CGO_ENABLED=0 GOFIPS140=certified $(GO) build -trimpath -o $(BIN)-fips ./cmd/sagekeep

hsm: ## dist/sagekeep-hsm, which loads PKCS#11 libraries (needs a C compiler)
	cd cmd/sagekeep-hsm && CGO_ENABLED=1 $(GO) build -trimpath -o ../../dist/sagekeep-hsm .

hsm-check: ## what a change of sagekeep-hsm, a module of its own, must pass besides
	cd cmd/sagekeep-hsm && $(GO) vet ./... && $(GO) fix -diff ./... && CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 10m ./...
	cd cmd/sagekeep-hsm && $(GO) tool -modfile=../../tools/go.mod staticcheck ./...

check: format vet staticcheck fix deadcode tidy cross test ## everything a change must pass

format: ## fail when a file is not formatted
	@out=$$($(TOOL) gofumpt -l .) || exit 1; \
	if [ -n "$$out" ]; then echo "not formatted, run \`$(TOOL) gofumpt -w .\`:"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(TOOL) staticcheck ./...

fix: ## fail when `go fix` would modernise something
	$(GO) fix -diff ./...

deadcode: ## fail on functions that neither a command nor a test reaches
	@out=$$($(TOOL) deadcode -test ./...) || exit 1; \
	if [ -n "$$out" ]; then echo "unreachable:"; echo "$$out"; exit 1; fi

tidy:
	$(GO) mod tidy -diff

cross: ## build for the other systems
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) build ./...
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) build ./...

cross-vet: ## vet, tests included, for the other systems; compiles every test dependency twice more
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 $(GO) vet ./...

# The race detector needs cgo and a C compiler; nothing else does.
test: ## every test, with the race detector, in random order
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 10m $(TESTFLAGS) ./...

# What may not be used in this mode answers so; the tests assert it.
fips: ## the tests of keys and seals with FIPS 140-3 enforced
	GODEBUG=fips140=only $(GO) test ./internal/kms/... ./internal/envelope/... ./internal/seal/...

generate: ## rewrite generated code and pages (network: the pinned botocore wheel and IAM data)
	$(GO) generate ./...
	$(GO) test ./internal/server -run TestCoveragePage -update

generate-check: ## fail when generated code is stale (network, python3 with pip, npm)
	cd api && $(GO) run ./internal/generate -check
	cd api && $(GO) run ./internal/catalog -check

$(VENV)/ok: e2e/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement e2e/requirements.txt
	touch $@

# Installed beside the binary: what lies in e2e/ is ours.
dist/js/ok: e2e/js/package.json e2e/js/package-lock.json
	mkdir -p dist/js
	cp e2e/js/package.json e2e/js/package-lock.json dist/js
	cd dist/js && npm ci --ignore-scripts --prefer-offline --no-audit --no-fund
	touch $@

# A client of its own module, pinned there; its first build takes about a minute on two cores.
$(SOPS): e2e/sops/go.mod e2e/sops/go.sum
	cd e2e/sops && CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o "$(CURDIR)/$@" github.com/getsops/sops/v3/cmd/sops

e2e: build $(VENV)/ok dist/js/ok $(SOPS) ## unmodified clients against the built binary
	SAGEKEEP_BIN="$(CURDIR)/$(BIN)" $(GO) test -count=1 ./e2e
	SAGEKEEP_BIN="$(CURDIR)/$(BIN)" PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python -m pytest -q -p no:cacheprovider e2e

bench: ## benchmarks: BENCH=regexp COUNT=n
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 60m ./...

fuzz: ## every fuzz target for FUZZTIME each
	GO='$(GO)' sh tools/fuzz.sh $(FUZZTIME)
	cd cmd/sagekeep-hsm && GO='$(GO)' sh ../../tools/fuzz.sh $(FUZZTIME)

lint: ## golangci-lint with .golangci.yaml; its first build takes minutes
	$(LINT) golangci-lint run ./...

vulncheck: ## known vulnerabilities (network: the Go vulnerability database)
	$(TOOL) govulncheck ./...

nightly: lint cross-vet vulncheck fuzz ## what is too slow or too networked for every change

clean:
	rm -rf dist $(VENV)
