# make            build tincan
# make demo       show it: three hosts, a mesh, a killed inviter (no root needed)
# make check      what can be checked without running a daemon; fast
# make test       everything
# make soak       what is measured with many trials; takes an hour
# make sim        large meshes in one process, under virtual time; with NODES, SEEDS, SCENARIO

GO ?= go
# By number, not by time: at the end of a time the go command sometimes fails by itself.
FUZZTIME ?= 5000x

# In a checkout of another user git says nothing, and the go command would fail.
ifneq (,$(wildcard .git))
ifneq (ok,$(shell git rev-parse HEAD >/dev/null 2>&1 && echo ok))
export GOFLAGS += -buildvcs=false
endif
endif
export GO FUZZTIME

.PHONY: build demo need check cross test unit race fuzz e2e soak sim packages clean

# Without cgo: one static file, and -R works.
build: need
	@echo "building bin/tincan (the first time takes a minute or two)"
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/tincan ./cmd/tincan

demo: build
	$(GO) build -o bin/demo ./cmd/demo
	bin/demo bin/tincan

need:
	@scripts/need build

# Each stage goes on after a failure, and ends with what passed, failed and was skipped.
STAGES := $(GO) run ./test/stages

# What was fetched by "make test" is used if it is there.
PEERS := bin/peers

check: need
	@$(STAGES) check

cross:
	@for os in linux darwin windows freebsd openbsd; do \
		echo "building for $$os"; GOOS=$$os CGO_ENABLED=0 $(GO) build -o /dev/null ./... || exit 1; done
	GOOS=linux GOARCH=arm CGO_ENABLED=0 $(GO) build -o /dev/null ./...

test: need
	@scripts/need test
	@scripts/packages
	@mkdir -p bin && scripts/peers $(PEERS) >$(PEERS).env
	@set -a; . ./$(PEERS).env; set +a; $(STAGES)

unit: need
	@$(STAGES) unit

race: need
	@$(STAGES) race

fuzz: need
	@$(STAGES) fuzz

e2e: need
	@set -a; [ ! -e $(PEERS).env ] || . ./$(PEERS).env; set +a; $(STAGES) e2e

# What is measured, with large numbers; takes about an hour. The figures belong into docs/reliability.md.
# One line for each thing; what the daemons say is left out.
SOAK_TRIALS ?= 100
SOAK_NODES ?= 100
SOAK := $(GO) test -count=1 -timeout 90m ./test/e2e -v -run
QUIET := grep -v -e ' tincan: ' -e ' tincd: ' -e '^=== '
soak: SHELL := /bin/bash
soak: .SHELLFLAGS := -o pipefail -c
soak:
	SOAK_NODES=$(SOAK_NODES) $(SOAK) TestCrowd$$ | $(QUIET)
	$(SOAK) WhoMeetsWhom -parallel 2 | $(QUIET)
	SOAK_TRIALS=$(SOAK_TRIALS) $(SOAK) FailingOver -parallel 4 | $(QUIET)
	SOAK_TRIALS=$(SOAK_TRIALS) $(SOAK) LongLink | $(QUIET)

# Large meshes under virtual time: "make sim", or make sim SCENARIO=ColdStart NODES=1000 SEEDS=20.
# A thousand nodes take 10 GB of memory and some minutes for each seed.
NODES ?= 100
SEEDS ?= 100
FROM ?= 1
SCENARIO ?= ColdStart|TwoHalves|FlapOfOneLink|LostTheirHub|NobodyKeepsTheDead
sim:
	$(GO) test -count=1 -timeout 0 -parallel 1 ./internal/sim -v -run 'Test.*($(SCENARIO))' -nodes $(NODES) -seeds $(SEEDS) -from $(FROM) | grep -v '^=== '
	$(GO) test -count=1 -timeout 0 ./internal/sim -run 'TestRandom(Mixed)?Networks' -seeds $(SEEDS) -from $(FROM)
	$(GO) test -count=1 -timeout 0 ./internal/sim -run 'Relay|ComesBack|China|Hot|Path' -more 10

packages:
	@scripts/packages

clean:
	rm -rf bin
