# Quoll. `make run` starts a server, `make test` proves it; plain `make` builds build/quoll-server
# and build/quoll-check.
# VARIANT=release (default) | debug | sanitize; each has its own folder, so switching is cheap.

VARIANT ?= release
CXX ?= g++
OUT := build$(if $(filter-out release,$(VARIANT)),/$(VARIANT))

FLAGS_release := -O2 -g1
FLAGS_debug := -O0 -g -DQUOLL_DEBUG
# Left out: what the address sanitizer reports anyway, at half of the time to compile.
FLAGS_sanitize := -O1 -g1 -DQUOLL_DEBUG -fno-omit-frame-pointer -fsanitize=address,undefined \
  -fno-sanitize=null,object-size,pointer-overflow,vptr -fno-sanitize-recover=undefined
# The tests themselves are looked at less closely than what they test, for half of the time to compile.
FLAGS_sanitize_tests := -O0 -g1 -DQUOLL_DEBUG -fno-omit-frame-pointer -fsanitize=address
FLAGS := $(FLAGS_$(VARIANT))
FLAGS_tests := $(or $(FLAGS_$(VARIANT)_tests),$(FLAGS))
# GCC 12 sees overflows of std::string that are not there (its bugs 105329 and 105651).
WARNINGS := -Wall -Wextra -Werror -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread
CXXFLAGS := -std=c++20 $(WARNINGS) -Isrc -I. -MMD -MP -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL \
  -DXXH_INLINE_ALL $(EXTRA_CXXFLAGS)
PRECOMPILED := $(OUT)/precompiled.h
PRECOMPILED_tests := $(OUT)/tests/precompiled.h
LUA_LIBS := -l:liblua5.1-cjson.a -l:liblua5.1-bitop.a -l:liblua5.1.a
LIBS := $(LUA_LIBS) -lspdlog -lfmt -luv -lhttp_parser -lssl -lcrypto -lcurl -llzf -lisal -lpthread $(if $(filter-out sanitize,$(VARIANT)),-ljemalloc)

objects = $(patsubst %.cc,$(OUT)/obj/%.o,$(1))
LIB_SOURCES := $(filter-out src/main.cc,$(wildcard src/*/*.cc))
UNIT_SOURCES := $(wildcard tests/unit/*.cc tests/unit/*/*.cc)
SIM_SOURCES := $(wildcard tests/sim/*.cc)
GROUP_SIM_SOURCES := $(wildcard tests/sim/group/*.cc)
CHECKER_SOURCES := $(addprefix tests/sim/,history.cc linearizability.cc list_append.cc simple_checkers.cc)

.PHONY: all install deb deps run test check bench bench-instructions bench-persistence torture clean unit sim mutants nemesis fuzz fuzz-build
all: $(OUT)/quoll-server $(OUT)/quoll-check

$(OUT)/libquoll.a: $(call objects,$(LIB_SOURCES))
	@rm -f $@ && ar rcs $@ $^

$(OUT)/quoll-server: $(OUT)/obj/src/main.o $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -o $@ $^ $(LIBS)

$(OUT)/quoll-check: $(OUT)/obj/src/check_main.o $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -o $@ $^ $(LIBS)

$(OUT)/unit-tests: $(call objects,$(UNIT_SOURCES) $(CHECKER_SOURCES)) $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -o $@ $^ $(LIBS)

$(OUT)/sim-tests: $(call objects,$(SIM_SOURCES)) $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -o $@ $^ $(LIBS)

$(OUT)/group-sim: $(call objects,$(GROUP_SIM_SOURCES)) $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -o $@ $^ $(LIBS)

$(OUT)/precompiled.h.gch: src/precompiled.h
$(OUT)/tests/precompiled.h.gch: tests/unit/precompiled.h
$(OUT)/tests/precompiled.h.gch: FLAGS := $(FLAGS_tests)
%.h.gch:
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@cp $< $(@:.gch=) && $(CXX) $(CXXFLAGS) $(FLAGS) -MF $(@:.gch=.d) -MT $@ -x c++-header -o $@.tmp $< && mv $@.tmp $@

$(OUT)/obj/tests/unit/main.o: PRECOMPILED_tests :=  # doctest's body is behind the same guard
$(OUT)/obj/tests/unit/%.o: tests/unit/%.cc $(PRECOMPILED_tests:.h=.h.gch)
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@$(CXX) $(CXXFLAGS) $(FLAGS_tests) $(addprefix -include ,$(PRECOMPILED_tests)) -MF $(@:.o=.d) -MT $@ -c -o $@.tmp $< && mv $@.tmp $@

$(OUT)/obj/%.o: %.cc $(PRECOMPILED:.h=.h.gch)
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@$(CXX) $(CXXFLAGS) $(FLAGS) $(addprefix -include ,$(PRECOMPILED)) -MF $(@:.o=.d) -MT $@ -c -o $@.tmp $< && mv $@.tmp $@

unit: $(OUT)/unit-tests
	$<

sim: $(OUT)/sim-tests $(OUT)/group-sim
	$(OUT)/sim-tests
	scripts/run-sim --servers
	scripts/run-sim --group

# Builds of the replica group's core with one rule broken each; group-sim must see every one.
mutants: $(OUT)/group-sim
	@OUT=$(OUT) COMPILE='$(CXX) $(filter-out -Isrc -I. -MMD -MP,$(CXXFLAGS)) $(FLAGS) -include $(PRECOMPILED)' LIBS='$(LIBS)' \
	  /usr/bin/python3 -B tests/sim/group/mutants.py $(MUTANTS)

# Coverage-guided fuzzing needs clang's libFuzzer; FUZZ_SECONDS bounds each target. What a run finds
# beside its seeds stays in build/fuzz/corpus, where the next one goes on.
FUZZ_SECONDS ?= 10
FUZZ_TARGETS := resp-parser aof-reader rdb-value rdb-file acl-rules lua-api http-request config-file
FUZZ_FLAGS := -std=c++20 -O1 -g1 -DQUOLL_DEBUG -DXXH_INLINE_ALL -Isrc -I. -fsanitize=fuzzer-no-link,address,undefined \
  -fno-sanitize-recover=undefined
# allocator.cc asks jemalloc, whose place the address sanitizer takes.
fuzz_objects = $(patsubst %.cc,build/fuzz/obj/%.o,$(filter-out src/base/allocator.cc,$(wildcard $(1))))
FUZZ_BASE := src/base/check.cc src/base/memory.cc src/base/numbers.cc src/base/text.cc
FUZZ_RDB := src/base/*.cc src/data/*.cc src/store/*.cc src/wire/rdb_*.cc src/persist/rdb_*.cc \
  src/persist/value_codec.cc src/persist/dump_payload.cc
FUZZ_ACL := src/server/acl_user.cc src/server/acl_selector.cc src/server/command_table.cc src/base/glob.cc \
  src/base/sha256.cc src/base/histogram.cc $(FUZZ_BASE)

build/fuzz/resp-parser: $(call fuzz_objects,tests/fuzz/resp_parser_fuzz.cc src/wire/resp_parser.cc $(FUZZ_BASE))
build/fuzz/aof-reader: $(call fuzz_objects,tests/fuzz/aof_reader_fuzz.cc src/persist/aof_reader.cc src/persist/aof_encoder.cc src/persist/change_notes.cc $(FUZZ_BASE))
build/fuzz/rdb-value: $(call fuzz_objects,tests/fuzz/rdb_value_fuzz.cc $(FUZZ_RDB))
build/fuzz/rdb-file: $(call fuzz_objects,tests/fuzz/rdb_file_fuzz.cc $(FUZZ_RDB))
build/fuzz/acl-rules: $(call fuzz_objects,tests/fuzz/acl_rules_fuzz.cc $(FUZZ_ACL))
build/fuzz/http-request: $(call fuzz_objects,tests/fuzz/http_request_fuzz.cc src/wire/http_request.cc $(FUZZ_BASE))
build/fuzz/config-file: $(call fuzz_objects,tests/fuzz/config_file_fuzz.cc src/server/config.cc src/server/config_*.cc \
  src/server/directive*.cc src/cluster/group_list.cc src/server/command_line.cc src/server/file_access.cc src/server/notify_flags.cc src/base/glob.cc $(FUZZ_BASE))
build/fuzz/lua-api: $(call fuzz_objects,tests/fuzz/lua_api_fuzz.cc src/server/lua_vm.cc src/server/lua_sandbox.cc \
  src/server/lua_cjson.cc src/server/lua_cmsgpack.cc src/server/lua_struct.cc $(FUZZ_BASE))
build/fuzz/rdb-seeds: $(call fuzz_objects,tests/fuzz/rdb_seeds.cc $(FUZZ_RDB))

build/fuzz/precompiled.h.pch: src/precompiled.h
	@mkdir -p $(@D)
	@echo "  CLANG $<"
	@clang++ $(FUZZ_FLAGS) -x c++-header -o $@ $<
build/fuzz/obj/%.o: %.cc build/fuzz/precompiled.h.pch
	@mkdir -p $(@D)
	@echo "  CLANG $<"
	@clang++ $(FUZZ_FLAGS) -include-pch build/fuzz/precompiled.h.pch -MMD -MP -c -o $@ $<
$(addprefix build/fuzz/,$(FUZZ_TARGETS)):
	@echo "  LINK $@"
	@clang++ $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ $(LUA_LIBS) -lfmt -llzf -lisal -lcrypto -lhttp_parser
build/fuzz/rdb-seeds:
	@clang++ $(FUZZ_FLAGS) -o $@ $^ -llzf -lisal -lcrypto
build/fuzz/seeds: build/fuzz/rdb-seeds
	@$< $@

fuzz-build: $(addprefix build/fuzz/,$(FUZZ_TARGETS)) build/fuzz/seeds
fuzz: fuzz-build
	@mkdir -p $(FUZZ_TARGETS:%=build/fuzz/corpus/%) $(FUZZ_TARGETS:%=build/fuzz/seeds/%)
	@printf '%s\n' $(FUZZ_TARGETS) | xargs -P2 -I{} sh -c 'exec build/fuzz/{} -max_total_time=$(FUZZ_SECONDS) \
	  -max_len=$${FUZZ_LEN:-1024} -rss_limit_mb=1500 -verbosity=0 -artifact_prefix=build/fuzz/{}- \
	  build/fuzz/corpus/{} build/fuzz/seeds/{}'

PREFIX ?= /usr/local

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

bench-persistence:
	@scripts/install-deps bench
	@$(MAKE) --no-print-directory all
	@scripts/bench-persistence

# Three real members, and what may happen to them.
NEMESIS_SECONDS ?= 60
nemesis:
	@scripts/install-deps test
	@$(MAKE) --no-print-directory all
	@/usr/bin/python3 tests/compat/nemesis.py --members 3 --seconds $(NEMESIS_SECONDS) --redis-py --node

torture:
	@scripts/install-deps test
	@$(MAKE) --no-print-directory all $(OUT)/sim-tests
	@scripts/torture

# PREFIX, DESTDIR, SYSCONFDIR, UNITDIR: see scripts/install-files.
install: all
	@OUT=$(OUT) PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' SYSCONFDIR='$(SYSCONFDIR)' UNITDIR='$(UNITDIR)' scripts/install-files

deb:
	@scripts/install-deps deb
	@$(MAKE) --no-print-directory all
	@scripts/make-deb

clean:
	rm -rf build

-include $(shell find $(OUT)/obj build/fuzz/obj $(PRECOMPILED:.h=.d) $(PRECOMPILED_tests:.h=.d) -name '*.d' 2>/dev/null)
