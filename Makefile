# make            build tincan
# make demo       show it: three hosts, a mesh, a killed inviter (no root needed)
# make check      what can be checked without running a daemon; fast
# make test       everything
# make cover      how much of each package the black-box tests of the commands reach
# make soak       what is measured with many trials; takes an hour
# make packages   packages of all kinds, in dist/; with ARCHS and FORMATS only some of them
# make install    the program, its manual pages and completions, and the systemd unit; PREFIX, DESTDIR
# make sim        large meshes in one process, under virtual time; with NODES, SEEDS, SCENARIO

GO ?= go
# By number, not by time: at the end of a time the go command sometimes fails by itself.
FUZZTIME ?= 5000x

# The same flags for building and testing, so that everything is compiled once.
export GOFLAGS += -trimpath

# Git does not look into a checkout of another user, and the go command then refuses to build. Who runs make here has
# decided to trust it: this very file is of that checkout.
ifneq (,$(wildcard .git))
export GIT_CONFIG_COUNT := 1
export GIT_CONFIG_KEY_0 := safe.directory
export GIT_CONFIG_VALUE_0 := $(CURDIR)
# The commit, its time, its description and whether there are changes, for "tincan version"; in the form of
# packaging/SOURCE, which tells an archive made by git the same. Without git it stays unknown.
SOURCE := $(shell scripts/source 2>/dev/null)
endif
ifeq (,$(SOURCE))
export GOFLAGS += -buildvcs=false
endif
export GO FUZZTIME

# NUMBER is the version that a distribution chooses for its package; without it, it follows from the source.
STAMP := $(if $(NUMBER)$(SOURCE),-ldflags "-X tincan/internal/cli/version.Number=$(NUMBER) -X tincan/internal/cli/version.Source=$(SOURCE)")

.PHONY: install uninstall build demo need check cross arch test unit race fuzz e2e cover soak sim packages clean

# With the TCP/IP stack for "tincan proxy", 2 MB; TAGS= leaves it out.
TAGS ?= netstack

# Without cgo: one static file, and -R works.
build: need
	@echo "building bin/tincan (the first time takes a minute or two)"
	@CGO_ENABLED=0 $(GO) build -tags "$(TAGS)" $(STAMP) -o bin/tincan ./cmd/tincan

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
	@for os in linux darwin windows freebsd openbsd netbsd dragonfly solaris illumos; do \
		echo "building for $$os"; GOOS=$$os CGO_ENABLED=0 $(GO) build -tags "$(TAGS)" -o /dev/null ./... || exit 1; done
	GOOS=linux GOARCH=arm CGO_ENABLED=0 $(GO) build -tags "$(TAGS)" -o /dev/null ./...

# Unit tests on other processors, by qemu-user; not in every run of CI.
arch: need
	@scripts/arch

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

# The tests run the program itself, so "go test -cover" does not see what they reach: it is built with
# counters, and each run of it leaves them in a directory.
COVER := bin/cover
cover: need
	@rm -rf $(COVER) && mkdir -p $(COVER)
	@GOCOVERDIR=$(CURDIR)/$(COVER) $(GO) test -count=1 ./internal/cli
	@$(GO) tool covdata percent -i=$(COVER) | grep internal/

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
SCENARIO ?= ColdStart|TwoHalves|FlapOfOneLink|LostTheirHub|NobodyKeepsTheDead|ARemovalInALargeMesh|HalvesWithDifferentRosters
sim:
	$(GO) test -count=1 -timeout 0 -parallel 1 ./internal/sim -v -run 'Test.*($(SCENARIO))' -nodes $(NODES) -seeds $(SEEDS) -from $(FROM) | grep -v '^=== '
	$(GO) test -count=1 -timeout 0 ./internal/sim -run 'TestRandom(Mixed|Signed)?Networks' -seeds $(SEEDS) -from $(FROM)
	$(GO) test -count=1 -timeout 0 ./internal/sim -run 'Relay|ComesBack|China|Hot|Path' -more 10

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
APPARMORDIR ?= /etc/apparmor.d
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
TINCAN ?= bin/tincan

bin/tincan:
	@$(MAKE) build

# Builds nothing as root if it has been built before, and starts nothing.
install: $(TINCAN)
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSUSERSDIR) $(DESTDIR)$(BASHDIR) $(DESTDIR)$(ZSHDIR) $(DESTDIR)$(FISHDIR)
	install -d $(DESTDIR)$(MANDIR)/man1 $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man7
	install -m 755 $(TINCAN) $(DESTDIR)$(BINDIR)/tincan
	@pages=$$(mktemp -d) && trap 'rm -rf $$pages' EXIT && $(TINCAN) man $$pages && \
		for s in 1 5 7; do install -m 644 $$pages/*.$$s $(DESTDIR)$(MANDIR)/man$$s/ || exit 1; done
	@$(TINCAN) completion bash >$(DESTDIR)$(BASHDIR)/tincan
	@$(TINCAN) completion zsh >$(DESTDIR)$(ZSHDIR)/_tincan
	@$(TINCAN) completion fish >$(DESTDIR)$(FISHDIR)/tincan.fish
	@sed 's|/usr/local/bin/tincan|$(BINDIR)/tincan|' packaging/tincan@.service >$(DESTDIR)$(UNITDIR)/tincan@.service
	@install -m 644 packaging/tincan.sysusers $(DESTDIR)$(SYSUSERSDIR)/tincan.conf
	@[ -z "$(DESTDIR)" ] && [ ! -d $(APPARMORDIR) ] || install -D -m 644 packaging/tincan.apparmor $(DESTDIR)$(APPARMORDIR)/tincan
	@install -D -m 644 packaging/userns.apparmor $(DESTDIR)$(PREFIX)/share/tincan/userns.apparmor
	@install -d $(DESTDIR)$(PREFIX)/share/tincan/prometheus
	@install -m 644 packaging/prometheus/* $(DESTDIR)$(PREFIX)/share/tincan/prometheus/
	@chmod 644 $(DESTDIR)$(BASHDIR)/tincan $(DESTDIR)$(ZSHDIR)/_tincan $(DESTDIR)$(FISHDIR)/tincan.fish $(DESTDIR)$(UNITDIR)/tincan@.service
	@echo "installed below $(DESTDIR)$(PREFIX); next: man tincan"

# Networks in /etc/tinc stay, and so does what "tincan service install" has made.
uninstall:
	rm -f $(DESTDIR)$(BINDIR)/tincan $(DESTDIR)$(UNITDIR)/tincan@.service $(DESTDIR)$(SYSUSERSDIR)/tincan.conf $(DESTDIR)$(APPARMORDIR)/tincan
	rm -rf $(DESTDIR)$(PREFIX)/share/tincan
	rm -f $(DESTDIR)$(BASHDIR)/tincan $(DESTDIR)$(ZSHDIR)/_tincan $(DESTDIR)$(FISHDIR)/tincan.fish
	rm -f $(DESTDIR)$(MANDIR)/man1/tincan.1 $(DESTDIR)$(MANDIR)/man1/tincan-*.1 $(DESTDIR)$(MANDIR)/man5/tincan.conf.5 $(DESTDIR)$(MANDIR)/man7/tincan.7

# With SITE=https://… the packages and the formula for Homebrew say where they come from.
export SITE
packages: need
	@cd packaging/build && CGO_ENABLED=0 $(GO) build -buildvcs=false -o ../../bin/packages .
	@bin/packages -out dist -archs "$(ARCHS)" -formats "$(FORMATS)" -source "$(SOURCE)" -number "$(NUMBER)"

clean:
	rm -rf bin dist
