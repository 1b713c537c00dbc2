# Entrepot. `make` builds, `make run` starts both nodes, `make check` runs every test; `make help` lists the rest.
# Everything made lands in build/<variant>/; SAN=address,undefined or SAN=thread chooses a variant of its own.

CC ?= gcc
SAN ?=
FUZZ_SECONDS ?= 5
PREFIX ?= /usr
VARIANT := $(if $(SAN),$(subst $(comma),-,$(SAN)),release)
comma := ,
B := build/$(if $(SAN),$(subst $(comma),-,$(SAN)),release)$(if $(findstring clang,$(CC)),-clang)

PKGS := libevent_core libevent_pthreads libcurl openssl sqlite3 libprotobuf-c jansson yaml-0.1
WARN := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes -Werror
HARDEN := -fstack-protector-strong -fPIE
CPPFLAGS_ALL = -I. -I$(B)/gen -D_GNU_SOURCE -DOPENSSL_API_COMPAT=0x10100000L $(shell pkg-config --cflags $(PKGS)) $(CPPFLAGS)
ifeq ($(SAN),)
CFLAGS_ALL = -std=gnu11 -O2 -g -D_FORTIFY_SOURCE=2 $(WARN) $(HARDEN) $(CFLAGS)
LDFLAGS_ALL = -pie -Wl,-z,relro,-z,now $(LDFLAGS)
else
CFLAGS_ALL = -std=gnu11 -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all $(WARN) -fPIE $(CFLAGS)
LDFLAGS_ALL = -pie -fsanitize=$(SAN) $(LDFLAGS)
endif
LIBS = $(shell pkg-config --libs $(PKGS)) -pthread -lm

PROTOS := $(wildcard proto/*.proto)
GEN_C := $(PROTOS:proto/%.proto=$(B)/gen/proto/%.pb-c.c)
GEN_H := $(GEN_C:.c=.h)
COMMON_C := $(wildcard common/*/*.c)
CENTRAL_C := $(wildcard central/*.c central/*/*.c)
EDGE_C := $(wildcard edge/*.c edge/*/*.c)
UNIT_C := $(wildcard tests/unit/*/*.c tests/unit/*/*/*.c)
FUZZ_C := $(wildcard tests/fuzz/fuzz_*.c)
o = $(patsubst %.c,$(B)/obj/%.o,$(1))

COMMON_O := $(call o,$(COMMON_C)) $(GEN_C:.c=.o)
CENTRAL_LIB_O := $(call o,$(filter-out central/main.c,$(CENTRAL_C)))
EDGE_LIB_O := $(call o,$(filter-out edge/main.c,$(EDGE_C)))
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_C))

all: $(B)/entrepot-central $(B)/entrepot-edge

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

$(B)/entrepot-central: $(call o,central/main.c) $(CENTRAL_LIB_O) $(COMMON_O)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
$(B)/entrepot-edge: $(call o,edge/main.c) $(EDGE_LIB_O) $(COMMON_O)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

# A unit test is one file with its own main; it may use everything but the two mains.
$(B)/unit/%: $(B)/obj/tests/unit/%.o $(B)/libunit.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $< -Wl,--start-group $(B)/libunit.a -Wl,--end-group $(LIBS) -lcmocka
$(B)/libunit.a: $(COMMON_O) $(CENTRAL_LIB_O) $(EDGE_LIB_O)
	@rm -f $@; mkdir -p $(@D)
	ar rcs $@ $^
unit: $(UNIT_BIN)

$(B)/obj/%.o: %.c | $(GEN_H)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
# Generated code is not held to our warnings.
$(B)/gen/proto/%.pb-c.o: $(B)/gen/proto/%.pb-c.c
	$(CC) $(CPPFLAGS_ALL) $(filter-out $(WARN),$(CFLAGS_ALL)) -c -o $@ $<
$(B)/gen/proto/%.pb-c.c $(B)/gen/proto/%.pb-c.h &: proto/%.proto
	@mkdir -p $(@D)
	protoc-c --c_out=$(B)/gen $<

clean:
	rm -rf build

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
.PHONY: all help unit clean format
.SECONDARY:
