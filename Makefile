# Quoll. `make run` starts a server, `make test` proves it; plain `make` builds build/quoll-server.
# VARIANT=release (default) | debug | sanitize; each has its own folder, so switching is cheap.

VARIANT ?= release
CXX ?= g++
OUT := build$(if $(filter-out release,$(VARIANT)),/$(VARIANT))

FLAGS_release := -O2 -g
FLAGS_debug := -O0 -g -DQUOLL_DEBUG
FLAGS_sanitize := -O1 -g -DQUOLL_DEBUG -fno-omit-frame-pointer -fsanitize=address,undefined \
  -fno-sanitize-recover=undefined
CXXFLAGS := -std=c++20 -Wall -Wextra -Werror -Isrc -I. -MMD -MP -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL \
  -DXXH_INLINE_ALL $(FLAGS_$(VARIANT)) $(EXTRA_CXXFLAGS)
LIBS := -lspdlog -lfmt -luv -lpthread $(if $(filter-out sanitize,$(VARIANT)),-ljemalloc)

objects = $(patsubst %.cc,$(OUT)/obj/%.o,$(1))
LIB_SOURCES := $(filter-out src/main.cc,$(wildcard src/*/*.cc))
UNIT_SOURCES := $(wildcard tests/unit/*.cc tests/unit/*/*.cc)
SIM_SOURCES := $(wildcard tests/sim/*.cc)

.PHONY: all deps run test check bench bench-instructions clean unit sim
all: $(OUT)/quoll-server

$(OUT)/libquoll.a: $(call objects,$(LIB_SOURCES))
	@rm -f $@ && ar rcs $@ $^

$(OUT)/quoll-server: $(OUT)/obj/src/main.o $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) -o $@ $^ $(LIBS)

$(OUT)/unit-tests: $(call objects,$(UNIT_SOURCES)) $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) -o $@ $^ $(LIBS)

$(OUT)/sim-tests: $(call objects,$(SIM_SOURCES)) $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) -o $@ $^ $(LIBS)

$(OUT)/obj/%.o: %.cc
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@$(CXX) $(CXXFLAGS) -c -o $@.tmp $< && mv $@.tmp $@

unit: $(OUT)/unit-tests
	$<

sim: $(OUT)/sim-tests
	$<

deps:
	@scripts/install-deps

run: deps
	@$(MAKE) --no-print-directory all
	$(OUT)/quoll-server redis-conf/quoll.conf

test: deps
	@scripts/run-tests

check:
	@scripts/check-floors
	@scripts/check-determinism

bench: deps
	@$(MAKE) --no-print-directory all
	@scripts/bench

bench-instructions: deps
	@$(MAKE) --no-print-directory all
	@scripts/bench-instructions

clean:
	rm -rf build

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)
