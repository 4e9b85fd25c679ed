# Quoll. `make run` starts a server, `make test` proves it; plain `make` builds build/quoll-server.
# VARIANT=release (default) | debug | sanitize; each has its own folder, so switching is cheap.

VARIANT ?= release
CXX ?= g++
OUT := build$(if $(filter-out release,$(VARIANT)),/$(VARIANT))

FLAGS_release := -O2 -g1
FLAGS_debug := -O0 -g -DQUOLL_DEBUG
# Left out: what the address sanitizer reports anyway, at a third of the time to compile.
FLAGS_sanitize := -O1 -g1 -DQUOLL_DEBUG -fno-omit-frame-pointer -fsanitize=address,undefined \
  -fno-sanitize=null,object-size,vptr -fno-sanitize-recover=undefined
CXXFLAGS := -std=c++20 -Wall -Wextra -Werror -Isrc -I. -MMD -MP -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL \
  -DXXH_INLINE_ALL $(FLAGS_$(VARIANT)) $(EXTRA_CXXFLAGS)
PRECOMPILED := $(OUT)/precompiled.h
LIBS := -lspdlog -lfmt -luv -llzf -lisal -lpthread $(if $(filter-out sanitize,$(VARIANT)),-ljemalloc)

objects = $(patsubst %.cc,$(OUT)/obj/%.o,$(1))
LIB_SOURCES := $(filter-out src/main.cc,$(wildcard src/*/*.cc))
UNIT_SOURCES := $(wildcard tests/unit/*.cc tests/unit/*/*.cc)
SIM_SOURCES := $(wildcard tests/sim/*.cc)

.PHONY: all deps run test check bench bench-instructions clean unit sim fuzz
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

$(OUT)/precompiled.h.gch: src/precompiled.h
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@cp $< $(@:.gch=) && $(CXX) $(CXXFLAGS) -MF $(@:.gch=.d) -MT $@ -x c++-header -o $@.tmp $< && mv $@.tmp $@

$(OUT)/obj/%.o: %.cc $(PRECOMPILED:.h=.h.gch)
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@$(CXX) $(CXXFLAGS) $(addprefix -include ,$(PRECOMPILED)) -MF $(@:.o=.d) -MT $@ -c -o $@.tmp $< && mv $@.tmp $@

unit: $(OUT)/unit-tests
	$<

sim: $(OUT)/sim-tests
	$<

# Coverage-guided fuzzing needs clang's libFuzzer; FUZZ_SECONDS bounds each target.
FUZZ_SECONDS ?= 12
FUZZ_BASE := $(addprefix src/base/,check.cc memory.cc numbers.cc text.cc)

build/resp-parser-fuzz: tests/fuzz/resp_parser_fuzz.cc src/wire/resp_parser.cc $(FUZZ_BASE)
build/aof-reader-fuzz: tests/fuzz/aof_reader_fuzz.cc $(addprefix src/persist/,aof_reader.cc aof_encoder.cc) $(FUZZ_BASE)
build/%-fuzz:
	@mkdir -p $(@D)
	@clang++ -std=c++20 -O1 -g -DQUOLL_DEBUG -Isrc -I. -fsanitize=fuzzer,address,undefined \
	  -fno-sanitize-recover=undefined -o $@ $^

fuzz: build/resp-parser-fuzz build/aof-reader-fuzz
	@for target in $^; do $$target -max_total_time=$(FUZZ_SECONDS) -max_len=1024 -verbosity=0 || exit 1; done

deps:
	@scripts/install-deps

run: deps
	@$(MAKE) --no-print-directory all
	$(OUT)/quoll-server redis-conf/quoll.conf

test:
	@scripts/install-deps test
	@scripts/run-tests

check:
	@scripts/check-floors
	@scripts/check-determinism

bench:
	@scripts/install-deps bench
	@$(MAKE) --no-print-directory all
	@scripts/bench

bench-instructions:
	@scripts/install-deps bench
	@$(MAKE) --no-print-directory all
	@scripts/bench-instructions

clean:
	rm -rf build

-include $(shell find $(OUT)/obj $(PRECOMPILED:.h=.d) -name '*.d' 2>/dev/null)
