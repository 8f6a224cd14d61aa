# The commands of everyday work. `make` lists them.

# Go is fetched where it is missing.
ifneq ($(filter-out help,$(MAKECMDGOALS)),)
export PATH := $(dir $(shell .ci/go)):$(PATH)
endif

GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
export BENCHSTAT := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := -X github.com/pipeamqp/pipe/cmd/pipe/cli.version=$(VERSION)

# Runs a command while all packages share one private RabbitMQ, or a broker in the box (PIPE_TEST_SKIPPED is set then: with a broker that
# takes nothing, tests mostly wait, so more of them run at a time).
WITH_BROKER := go run ./internal/testbroker/with --

MODULES := . ./examples/customstage ./expr/bench

.PHONY: help build test test-faults test-rabbitmq4 race bench bench-full bench-tracing bench-compare differential corpus bench-expr lint fmt generate demo rabbitmq

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/pipe
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/pipe ./cmd/pipe

test: ## run all tests, on a private RabbitMQ where one is installed
	$(WITH_BROKER) sh -c 'for m in $(MODULES); do (cd $$m && go test -timeout 20m $${PIPE_TEST_SKIPPED:+-p 4 -parallel 4} $(TESTFLAGS) ./...) || exit 1; done'

race: ## run all tests with the race detector
	$(MAKE) test TESTFLAGS='-race $(TESTFLAGS)'

test-rabbitmq4: ## run all tests but that of TLS on RabbitMQ 4, in a small Debian that is made for it (as root)
	PIPE_TEST_ROOT=$$(.ci/rabbitmq4) $(MAKE) test

test-faults: rabbitmq ## break everything around pipe, and count the messages (about an hour)
	$(WITH_BROKER) go test -tags faults -timeout 60m -v ./internal/faults
	PIPE_TEST_FULL=1 $(WITH_BROKER) go test -timeout 60m -v -run 'TestManyMessages|TestKill|TestTerminate|TestBrokerRestarts' ./internal/e2e

bench: rabbitmq ## measure pipe beside the best hand-written loop (some minutes)
	go run ./bench

bench-full: rabbitmq ## the same for all workloads, with latency, memory and start (an hour or two), and draw docs/benchmarks.svg
	go run ./bench -full -n 50000 -json bench.json -svg docs/benchmarks.svg -markdown bench.md

bench-tracing: rabbitmq ## measure what tracing costs
	go run ./bench -only tracing

bench-compare: ## Go benchmarks here and at another revision, side by side: make bench-compare REV=main~1
	.ci/bench-compare $(REV)

differential: ## evaluate a million random expressions and messages here and with HCL's evaluator
	go test ./expr -run TestRandomAgainstHCL -v -timeout 60m -rapid.checks=50000

corpus: ## keep what fuzzing of expr has found on this machine
	@d=$$(mktemp -d) && trap 'rm -r "$$d"' EXIT && tar -xzf expr/testdata/corpus.tar.gz -C "$$d" && \
	cp -r "$$(go env GOCACHE)/fuzz/$$(go list ./expr)"/* "$$d" && \
	tar -cz --sort=name --owner=0 --group=0 --mtime=@0 -f expr/testdata/corpus.tar.gz -C "$$d" FuzzExpression FuzzScan

bench-expr: ## measure expressions beside expr-lang, cel-go and HCL's evaluator
	cd expr/bench && go run .

lint: ## check the format, vet and staticcheck
	@unformatted=$$(go run $(GOFUMPT) -l .); test -z "$$unformatted" || { echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; }
	@for m in $(MODULES); do (cd $$m && echo "lint $$m" && go vet ./... && go run $(STATICCHECK) ./...) || exit 1; done
	go run ./cmd/pipe fmt --check --diff pipelines examples/customstage

fmt: ## format Go and pipeline files
	go run $(GOFUMPT) -w .
	go run ./cmd/pipe fmt pipelines examples/customstage

generate: ## make the generated files anew
	go generate ./...

demo: build ## watch orders flow through pipelines/route.hcl
	@bin/pipe demo pipelines/route.hcl

rabbitmq: ## install RabbitMQ where it is missing
	@.ci/rabbitmq
