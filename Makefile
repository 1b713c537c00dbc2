# Entrepot. `make` builds, `make run` starts both nodes, `make check` runs every test; `make help` lists the rest.
# Everything is built in build/<variant>/. SAN=address,undefined, SAN=thread and COVERAGE=1 each have a variant of their own.

ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
COVERAGE ?=
FUZZ_SECONDS ?= 5
PREFIX ?= /usr
UNITS ?= /usr/lib/systemd/system

comma := ,
B := build/$(if $(SAN),$(subst $(comma),-,$(SAN)),$(if $(COVERAGE),coverage,release))$(if $(findstring clang,$(CC)),-clang)

BUILD_PACKAGES := gcc make pkg-config libc6-dev libevent-dev libcurl4-openssl-dev libssl-dev libsqlite3-dev libprotobuf-c-dev \
	protobuf-c-compiler libjansson-dev libyaml-dev libzstd-dev libroaring-dev python3 ca-certificates
DEB_PACKAGES := dpkg-dev debhelper fakeroot
TEST_PACKAGES := libcmocka-dev clang clang-format libclang-rt-14-dev libhttp-parser-dev libldns-dev bind9-dnsutils knot-dnsutils ldnsutils unbound dnsmasq-base bind9 pdns-recursor knot-resolver docker-registry docker.io containerd podman \
	skopeo umoci python3-pytest python3-pytest-xdist python3-yaml systemd iproute2 ethtool procps curl sqlite3 openssl nginx-light nginx-common git $(DEB_PACKAGES) lintian groff-base
# Tests run them from build/unpacked: they would change this machine once installed.
UNPACKED_PACKAGES := systemd-resolved
BENCH_PACKAGES := varnish dnsperf gdnsd knot knot-module-geoip pdns-server pdns-backend-geoip
LINT_PACKAGES := cppcheck clang-tidy
IMAGE_PACKAGES := umoci skopeo
COVERAGE_PACKAGES := gcovr

PKGS := libevent_core libevent_pthreads libcurl openssl sqlite3 libprotobuf-c jansson yaml-0.1 libzstd
WARN := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes -Werror
HARDEN := -fstack-protector-strong -fPIE
# What a command says, asked for once and only when it is needed: the packages may not be there yet.
once = $(eval $(1) := $(shell $(2)))$($(1))
PKG_CFLAGS = $(call once,PKG_CFLAGS,pkg-config --cflags $(PKGS))
PKG_LIBS = $(call once,PKG_LIBS,pkg-config --libs $(PKGS))
GOLD = $(call once,GOLD,command -v ld.gold)
CPPFLAGS_ALL = -I. -I$(B)/gen -D_GNU_SOURCE -DOPENSSL_API_COMPAT=0x10100000L $(PKG_CFLAGS) $(CPPFLAGS)
ifneq ($(COVERAGE),)
CFLAGS_ALL = -std=gnu11 -O1 -g --coverage -fprofile-update=atomic $(WARN) -fPIE $(CFLAGS)
LDFLAGS_ALL = -pie --coverage $(LDFLAGS)
else ifeq ($(SAN),)
CFLAGS_ALL = -std=gnu11 -O2 -g -D_FORTIFY_SOURCE=2 $(WARN) $(HARDEN) $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now $(LDFLAGS)
else
CFLAGS_ALL = -std=gnu11 -O1 $(TEST_DEBUG) -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all $(WARN) -fPIE $(CFLAGS)
LDFLAGS_ALL = $(if $(findstring thread,$(SAN)),-pie,-no-pie) -fsanitize=$(SAN) $(TEST_LINKER) $(LDFLAGS)
endif
# Tests start thousands of commands: AddressSanitizer's tables would be 100,000 relocations of each one at a place of its own (-pie).
# What only tests need is made quickly: a sanitizer's report wants functions and lines (TEST_DEBUG=-g: a debugger wants types, too), which
# takes three quarters of the time of -g; gold links a unit test in a third of the time of the usual linker, but warns of symbols in
# clang's libraries.
TEST_DEBUG := -g1
TEST_LINKER := $(if $(findstring clang,$(CC)),,$(if $(GOLD),-fuse-ld=gold))
LIBS = $(PKG_LIBS) -pthread -lm -lresolv
# What central alone uses has no place in an edge's dependencies; Debian's CRoaring has no file for pkg-config.
CENTRAL_LIBS = $(LIBS) -lroaring

PROTOS := $(wildcard proto/*.proto)
GEN_C := $(PROTOS:proto/%.proto=$(B)/gen/proto/%.pb-c.c)
GEN_H := $(GEN_C:.c=.h)
COMMON_C := $(wildcard common/*/*.c)
CENTRAL_C := $(wildcard central/*.c central/*/*.c)
EDGE_C := $(wildcard edge/*.c edge/*/*.c)
UNIT_C := $(wildcard tests/unit/*/*.c tests/unit/*/*/*.c)
FUZZ_C := $(wildcard tests/fuzz/fuzz_*.c)
EVICTION_C := $(wildcard tests/bench/eviction/*.c)
CATALOGUE_C := tests/bench/catalogue.c tests/bench/holdings.c
SIM_C := $(wildcard tests/sim/*.c)
ALL_C := $(COMMON_C) $(CENTRAL_C) $(EDGE_C) $(UNIT_C) $(FUZZ_C) $(EVICTION_C) $(CATALOGUE_C) $(SIM_C)
o = $(patsubst %.c,$(B)/obj/%.o,$(1))

COMMON_O := $(call o,$(COMMON_C)) $(GEN_C:.c=.o)
CENTRAL_LIB_O := $(call o,$(filter-out central/main.c,$(CENTRAL_C)))
EDGE_LIB_O := $(call o,$(filter-out edge/main.c,$(EDGE_C)))
EVICTION_O := $(call o,$(filter-out %/eviction.c,$(EVICTION_C)))
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_C))

# What fuzzers are linked with: the code of all that they read. One that lacks a function wants a folder more here.
FUZZED_C := $(wildcard $(addsuffix /*.c,$(addprefix common/,config core dns http identity oci records wire) central/config edge/dns edge/replica)) \
	common/cli/stub.c common/upstream/challenge.c
LIB_O := $(if $(filter build/fuzz/lib,$(B)),$(call o,$(FUZZED_C)) $(GEN_C:.c=.o),$(COMMON_O) $(CENTRAL_LIB_O) $(EDGE_LIB_O))

# V=1 shows the commands.
Q := $(if $(V),,@)
empty :=
say = $(if $(V),,$(info $(empty)  $(1)$(if $(filter FUZZ,$(1)),  ,    )$(2)))

# Builds on all cores, once the packages are installed.
NOW = $(MAKE) $(if $(V),,-s) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

all: $(B)/entrepot-central $(B)/entrepot-edge

# Language servers look for it in build/. It is made again when a source file is added or removed.
ifeq ($(B),build/release)
all: build/compile_commands.json
endif
build/compile_commands.json: Makefile $(sort $(dir $(ALL_C)))
	@mkdir -p $(@D)
	@{ echo '['; printf '{"directory": "$(CURDIR)", "file": "%s", "command": "$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -c %s"},\n' \
		$(foreach f,$(ALL_C),$(f) $(f)) | sed '$$s/,$$//'; echo ']'; } >$@

## (nothing)    build both programs
help:
	@sed -n 's/^## /  make /p' $(MAKEFILE_LIST)

## run          install what is missing, build, start central and edge, pull a sample image through both; CENTRAL_ARGS=, EDGE_ARGS=
run: deps
	@+$(NOW) all sample
	@deploy/local/run $(B) build/sample
## demo         show both tiers in under a minute: cold, warm, many clients, a moving tag, no upstream, no central
demo: test-deps
	@+$(NOW) all
	@/usr/bin/python3 deploy/local/demo.py $(B)
## check        every test: units, sanitizers, fuzzers, real clients end to end (SUITES="units e2e": only those)
check:
	@tests/needs
	@$(MAKE) -s --no-print-directory test-deps
	@tests/check $(SUITES)
## check-older  an older commit and this one at both ends, by turns on the same folders (T=commit)
check-older: test-deps
	@+$(NOW) all
	@+$(NOW) SAN=address,undefined all
	@tests/older $(T)
## test         T=name: one unit test (serve/blob), one end-to-end file or test, one fuzzer, or a suite (units, threads, fuzz, e2e, ...)
test: test-deps
	@tests/one $(T)
## coverage     which lines the unit tests run (T=all: the end-to-end tests, too): build/coverage/index.html
coverage: coverage-deps
	@tests/coverage $(T)
## bench        measure beside the peers (QUICK=1: under three minutes)
bench: bench-deps
	@+$(NOW) all sim bench-catalogue bench-holdings
	@/usr/bin/python3 tests/bench/bench.py $(B) $(if $(QUICK),--quick)
## bench-eviction  hit ratios of eviction policies on traces of a modelled registry cache (tests/bench/eviction/README.md)
bench-eviction: $(B)/bench-eviction
	@$< --out build/bench $(ARGS)
## fuzz         run the fuzzers longer (FUZZ_SECONDS=60)
fuzz: test-deps
	@FUZZ_SECONDS=$(if $(filter 5,$(FUZZ_SECONDS)),60,$(FUZZ_SECONDS)) tests/check fuzz
## fuzz-grow    run each fuzzer for a minute and keep as seeds what reaches new code (T=range: one)
fuzz-grow: test-deps
	@tests/fuzz/grow $(T)
## deps         install the packages that building needs
deps:
	@deploy/local/packages $(BUILD_PACKAGES)
test-deps:
	@deploy/local/packages $(BUILD_PACKAGES) $(TEST_PACKAGES) $(LINT_PACKAGES)
	@deploy/local/unpacked build/unpacked $(UNPACKED_PACKAGES)
bench-deps:
	@deploy/local/packages $(BUILD_PACKAGES) $(TEST_PACKAGES) $(BENCH_PACKAGES)
deb-deps:
	@deploy/local/packages $(BUILD_PACKAGES) $(DEB_PACKAGES)
image-deps:
	@deploy/local/packages $(IMAGE_PACKAGES)
coverage-deps:
	@deploy/local/packages $(BUILD_PACKAGES) $(TEST_PACKAGES) $(COVERAGE_PACKAGES)
lint-deps:
	@deploy/local/packages $(BUILD_PACKAGES) $(LINT_PACKAGES)
sample: build/sample/index.json
build/sample/index.json: $(wildcard tests/sample/*)
	@rm -rf build/sample; mkdir -p build
	@tests/sample/make-sample build/sample

$(B)/entrepot-central: $(call o,central/main.c) $(CENTRAL_LIB_O) $(COMMON_O)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(CENTRAL_LIBS)
$(B)/entrepot-edge: $(call o,edge/main.c) $(EDGE_LIB_O) $(COMMON_O)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/bench-eviction: $(call o,tests/bench/eviction/eviction.c) $(EVICTION_O) $(call o,common/store/evict.c common/core/alloc.c)
	$(call say,LD,$@)
	@mkdir -p build/bench
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lm
$(B)/bench-catalogue $(B)/bench-holdings: $(B)/bench-%: $(B)/obj/tests/bench/%.o $(B)/libunit.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< -Wl,--start-group $(B)/libunit.a -Wl,--end-group $(CENTRAL_LIBS)
bench-catalogue bench-holdings: %: $(B)/%
# Edges of a fleet, for tests and the bench (tests/sim/sim.c).
sim: $(B)/entrepot-sim
$(B)/entrepot-sim: $(call o,$(SIM_C)) $(B)/libunit.a
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(call o,$(SIM_C)) -Wl,--start-group $(B)/libunit.a -Wl,--end-group $(CENTRAL_LIBS)
# The simulator of eviction is tested like the rest.
$(B)/libunit.a: $(EVICTION_O)

# A unit test is one file with its own main; it can use everything but the programs' mains.
$(B)/unit/%: $(B)/obj/tests/unit/%.o $(B)/libunit.a | $(B)/folders
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $< -Wl,--start-group $(B)/libunit.a -Wl,--end-group $(CENTRAL_LIBS) -lcmocka
$(B)/libunit.a: $(LIB_O)
	@rm -f $@; mkdir -p $(@D)
	$(Q)ar rcs $@ $^
unit: $(UNIT_BIN)
lib: $(B)/libunit.a

$(B)/obj/%.o: %.c | $(GEN_H) $(B)/folders
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
# All folders at once: a process for each file would take a tenth of the time of building. A test of that name may have stood where a folder
# of tests is now.
FOLDERS = $(patsubst %/,%,$(sort $(dir $(call o,$(ALL_C)) $(UNIT_BIN))))
$(B)/folders: $(sort $(dir $(ALL_C)))
	@mkdir -p $(B)
	@for f in $(FOLDERS); do [ ! -f $$f ] || rm -f $$f; done
	@mkdir -p $(FOLDERS)
	@touch $@
# Written only when its content changes.
$(B)/obj/common/core/version.o: $(B)/gen/version_made.h
$(B)/gen/version_made.h: FORCE
	@mkdir -p $(@D)
	@deploy/version header >$@.$$$$ && { cmp -s $@.$$$$ $@ && rm $@.$$$$ || mv $@.$$$$ $@; }
# Generated code is compiled without our warnings.
$(B)/gen/proto/%.pb-c.o: $(B)/gen/proto/%.pb-c.c
	$(Q)$(CC) $(CPPFLAGS_ALL) $(filter-out $(WARN),$(CFLAGS_ALL)) -c -o $@ $<
$(B)/gen/proto/%.pb-c.c $(B)/gen/proto/%.pb-c.h &: proto/%.proto
	@mkdir -p $(@D)
	@command -v protoc-c >/dev/null || { echo "protoc-c is missing; \`make deps\` installs all that building needs" >&2; exit 1; }
	$(Q)protoc-c --c_out=$(B)/gen $<

# A fuzzer is one file, built with clang and linked with FUZZED_C; its seeds are in tests/fuzz/seeds/NAME.
ifneq ($(B),build/fuzz/lib)
FUZZ_BIN := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(FUZZ_C))
fuzzers: $(FUZZ_BIN)
build/fuzz/%: tests/fuzz/%.c build/fuzz/lib/libunit.a
	$(call say,FUZZ,$@)
	$(Q)clang $(filter-out -I$(B)/gen,$(CPPFLAGS_ALL)) -Ibuild/fuzz/lib/gen -std=gnu11 -O1 $(TEST_DEBUG) -fsanitize=fuzzer,address,undefined -o $@ $< \
		build/fuzz/lib/libunit.a $(CENTRAL_LIBS) -lhttp_parser -lldns
build/fuzz/lib/libunit.a: FORCE
	$(Q)$(MAKE) $(FUZZ_LIB) lib
# All of the code through clang, which only looks at what no fuzzer needs.
clang-warnings:
	$(Q)$(MAKE) $(FUZZ_LIB) lib looked-at
FUZZ_LIB := --no-print-directory CC=clang B=build/fuzz/lib SAN=fuzzer-no-link,address,undefined
endif
looked-at: $(patsubst %.c,$(B)/obj/%.looked-at,$(filter-out $(FUZZED_C),$(COMMON_C) $(CENTRAL_C) $(EDGE_C)))
$(B)/obj/%.looked-at: %.c | $(GEN_H) $(B)/folders
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -MF $@.d -MT $@ -fsyntax-only $<
	@touch $@
FORCE:

## install      DESTDIR= and PREFIX=/usr
install: all
	install -D -m 0755 $(B)/entrepot-central $(DESTDIR)$(PREFIX)/bin/entrepot-central
	install -D -m 0755 $(B)/entrepot-edge $(DESTDIR)$(PREFIX)/bin/entrepot-edge
	install -D -m 0644 -t $(DESTDIR)$(UNITS) deploy/systemd/entrepot-*
	install -D -m 0644 deploy/sysusers.d/entrepot.conf $(DESTDIR)/usr/lib/sysusers.d/entrepot.conf
	install -D -m 0644 deploy/central.yaml $(DESTDIR)$(PREFIX)/share/doc/entrepot/examples/central.yaml
	install -D -m 0644 deploy/edge.yaml $(DESTDIR)$(PREFIX)/share/doc/entrepot/examples/edge.yaml
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	for p in entrepot-central entrepot-edge; do \
		$(B)/$$p command-docs man >$(DESTDIR)$(PREFIX)/share/man/man1/$$p.1 && \
		$(B)/$$p command-docs bash-completion >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$p || exit 1; done
	install -m 0644 README.md $(DESTDIR)$(PREFIX)/share/doc/entrepot/
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/entrepot/docs docs/*.md
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/share/doc/entrepot/proto $(PROTOS)
	sed -i 's|/usr/bin/|$(PREFIX)/bin/|g; s|/usr/share/|$(PREFIX)/share/|g' $(DESTDIR)$(UNITS)/entrepot-*.service

## deb          Debian packages entrepot-central and entrepot-edge in build/deb
deb: deb-deps
	@deploy/debian/build
## image        OCI images of both from those packages, in build/image; the same digest for the same commit
image: image-deps deb
	@deploy/image/build

## docs         write the example files and docs/configuration.md anew from the schema
docs: all
	$(B)/entrepot-central config-docs example > deploy/central.yaml
	$(B)/entrepot-edge config-docs example > deploy/edge.yaml
	{ $(B)/entrepot-central config-docs intro; $(B)/entrepot-central config-docs markdown; \
	  $(B)/entrepot-edge config-docs markdown; } > docs/configuration.md

## clean        remove everything made
clean:
	rm -rf build

## format       apply clang-format
format:
	find central common edge tests -name '*.[ch]' -exec clang-format -i {} +

## lint         clang-tidy and cppcheck
lint: lint-deps
	@+$(NOW) lint-only
lint-only: cppcheck tidy
cppcheck: $(GEN_H) $(B)/gen/version_made.h
	@cppcheck --quiet --error-exitcode=1 --inline-suppr --suppress=missingInclude --suppressions-list=tests/cppcheck-suppressions \
		--library=tests/cppcheck.cfg --enable=warning,portability -D__CPPCHECK__ \
		-D'json_array_foreach(a,i,v)=while ((v = json_array_get(a, i = 0)))' \
		-D'json_object_foreach(o,k,v)=while ((v = json_object_get(o, k = next_key(o))))' -I. common central edge
# TIDY= names other files than all.
TIDY ?= $(COMMON_C) $(CENTRAL_C) $(EDGE_C)
tidy: $(GEN_H) $(B)/gen/version_made.h
	@printf '%s\n' $(TIDY) | xargs -r -P $(shell nproc) -n 1 sh -c 'clang-tidy --quiet "$$@" -- $(CPPFLAGS_ALL) -std=gnu11 2>/dev/null' _

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
.PHONY: all help run demo check check-older test coverage bench bench-eviction bench-catalogue bench-holdings fuzz fuzz-grow deps test-deps bench-deps deb-deps image-deps coverage-deps lint-deps sample unit sim fuzzers clang-warnings looked-at install deb image docs \
	clean format lint lint-only cppcheck tidy FORCE
.SECONDARY:
