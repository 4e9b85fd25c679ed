# Quoll. `make run` starts a server, `make test` proves it; plain `make` builds build/quoll-server
# and build/quoll-check.
# VARIANT=release (default) | edit | debug | sanitize | fuzz; each has its own folder, so switching is
# cheap. edit (optimised) and debug compile file by file, for who changes some; the others join
# sources, which takes half of the time as a whole.

VARIANT ?= release
# As many jobs as there are cores, unless the caller says how many.
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
CXX ?= g++
OUT := build$(if $(filter-out release,$(VARIANT)),/$(VARIANT))

FLAGS_release := -O2 -g1
FLAGS_edit := $(FLAGS_release)
FLAGS_debug := -O0 -g -DQUOLL_DEBUG
# Left out: what the address sanitizer reports anyway, at half of the time to compile.
FLAGS_sanitize := -O1 -g1 -DQUOLL_DEBUG -fno-omit-frame-pointer -fsanitize=address,undefined \
  -fno-sanitize=null,object-size,pointer-overflow,vptr -fno-sanitize-recover=undefined
# The tests themselves are looked at less closely than what they test, for half of the time to compile.
FLAGS_sanitize_tests := -O0 -g1 -DQUOLL_DEBUG -fno-omit-frame-pointer -fsanitize=address
FLAGS_fuzz := -O1 -g1 -DQUOLL_DEBUG -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FLAGS := $(FLAGS_$(VARIANT))
FLAGS_tests := $(or $(FLAGS_$(VARIANT)_tests),$(FLAGS))
# GCC 12 sees overflows of std::string that are not there (its bugs 105329 and 105651).
WARNINGS := -Wall -Wextra -Werror -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread
ifeq ($(VARIANT),fuzz)
CXX := clang++
WARNINGS := -w  # the other compiler warns of the same sources
endif
CXXFLAGS := -std=c++20 $(WARNINGS) -Isrc -I. -MMD -MP -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL \
  -DXXH_INLINE_ALL $(if $(filter release sanitize,$(VARIANT)),-DQUOLL_JOINED) $(EXTRA_CXXFLAGS)
PRECOMPILED := $(OUT)/precompiled.h
PRECOMPILED_tests := $(OUT)/tests/precompiled.h
LUA_LIBS := -l:liblua5.1-cjson.a -l:liblua5.1-bitop.a -l:liblua5.1.a
LIBS := $(LUA_LIBS) -lspdlog -lfmt -luv -luring -lhttp_parser -lssl -lcrypto -lcurl -llzf -lisal -lpthread $(if $(filter-out sanitize,$(VARIANT)),-ljemalloc)

objects = $(patsubst %.cc,$(OUT)/obj/%.o,$(1))
LIB_SOURCES := $(wildcard src/*/*.cc)
ifeq ($(VARIANT),fuzz)  # what the fuzz targets reach
LIB_SOURCES := $(filter-out src/base/allocator.cc,$(wildcard src/base/*.cc src/data/*.cc src/store/*.cc \
  src/wire/resp_parser.cc src/wire/http_request.cc src/wire/rdb_*.cc src/persist/rdb_*.cc \
  $(addprefix src/persist/,value_codec.cc dump_payload.cc aof_reader.cc aof_encoder.cc change_notes.cc) \
  $(addprefix src/cluster/,group_list.cc gossip_core.cc gossip_frames.cc news_queue.cc node_address.cc location.cc \
  topology.cc topology_change.cc) src/server/config.cc src/server/config_*.cc src/server/directive*.cc \
  $(addprefix src/server/,acl_user.cc acl_selector.cc command_table.cc command_line.cc file_access.cc \
  notify_flags.cc lua_vm.cc lua_sandbox.cc lua_cjson.cc lua_cmsgpack.cc lua_struct.cc)))
endif
UNIT_SOURCES := $(wildcard tests/unit/*/*.cc)
SIM_SOURCES := $(wildcard tests/sim/*.cc)
GROUP_SIM_SOURCES := $(wildcard tests/sim/group/*.cc)
GOSSIP_SIM_SOURCES := $(wildcard tests/sim/gossip/*.cc)
CHECKER_SOURCES := $(addprefix tests/sim/,history.cc linearizability.cc list_append.cc simple_checkers.cc)

.PHONY: all install deb deps run test check bench bench-instructions bench-persistence bench-cluster torture clean unit sim mutants nemesis fuzz fuzz-build cluster
all: $(OUT)/quoll-server $(OUT)/quoll-check

ifeq ($(filter edit debug,$(VARIANT)),)  # compiled whole, in few pieces
pieces = $(patsubst %.cc,%.o,$(shell scripts/join-sources $(OUT)/joined$(1) $(2)))
else
pieces = $(call objects,$(2))
endif
LIB_OBJECTS := $(call pieces,,$(LIB_SOURCES))
# Beside them: what holds doctest's body, and what is linked without the rest of its folder.
UNIT_OBJECTS := $(call objects,tests/unit/main.cc $(CHECKER_SOURCES)) $(call pieces,/unit,$(UNIT_SOURCES))
SIM_OBJECTS := $(call pieces,/sim,$(SIM_SOURCES))
GROUP_SIM_OBJECTS := $(call pieces,/group-sim,$(GROUP_SIM_SOURCES))
GOSSIP_SIM_OBJECTS := $(call pieces,/gossip-sim,$(GOSSIP_SIM_SOURCES))

# What is meant for one file looks like a part of a header here.
$(OUT)/joined/unit/%.o: $(OUT)/joined/unit/%.cc $(PRECOMPILED_tests:.h=.h.gch)
	@echo "  CXX $<"
	@$(CXX) $(CXXFLAGS) $(FLAGS_tests) -include $(PRECOMPILED_tests) -Wno-subobject-linkage -MF $(@:.o=.d) -MT $@ -c -o $@.tmp $< && mv $@.tmp $@

$(OUT)/joined/%.o: $(OUT)/joined/%.cc $(PRECOMPILED:.h=.h.gch)
	@echo "  CXX $<"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -include $(PRECOMPILED) -Wno-subobject-linkage -MF $(@:.o=.d) -MT $@ -c -o $@.tmp $< && mv $@.tmp $@

$(OUT)/libquoll.a: $(LIB_OBJECTS)
	@rm -f $@ && ar rcs $@ $^

$(OUT)/quoll-server: $(OUT)/obj/src/main.o $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -o $@ $^ $(LIBS)

$(OUT)/quoll-check: $(OUT)/obj/src/check_main.o $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -o $@ $^ $(LIBS)

$(OUT)/unit-tests: $(UNIT_OBJECTS) $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -o $@ $^ $(LIBS)

$(OUT)/sim-tests: $(SIM_OBJECTS) $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -o $@ $^ $(LIBS)

$(OUT)/group-sim: $(GROUP_SIM_OBJECTS) $(OUT)/libquoll.a
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

$(OUT)/gossip-sim: $(GOSSIP_SIM_OBJECTS) $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -o $@ $^ $(LIBS)

unit: $(OUT)/unit-tests
	$<

sim: $(OUT)/sim-tests $(OUT)/group-sim $(OUT)/gossip-sim
	$(OUT)/sim-tests
	scripts/run-sim --servers
	scripts/run-sim --cluster
	scripts/run-sim --group
	scripts/run-sim --gossip

# Builds of the cores of replica group and gossip with one rule broken each; their simulations must
# see every one. They take the place of single files.
ifneq ($(VARIANT),edit)
mutants:
	@$(MAKE) --no-print-directory VARIANT=edit mutants
else
mutants: $(OUT)/group-sim $(OUT)/gossip-sim
	@OUT=$(OUT) COMPILE='$(CXX) $(filter-out -Isrc -I. -MMD -MP,$(CXXFLAGS)) $(FLAGS) -include $(PRECOMPILED)' LIBS='$(LIBS)' \
	  /usr/bin/python3 -B tests/sim/mutants.py $(MUTANTS)
endif

# Coverage-guided fuzzing needs clang's libFuzzer; FUZZ_SECONDS bounds each target. What a run finds
# beside its seeds stays in build/fuzz/corpus, where the next one goes on.
FUZZ_SECONDS ?= 10
FUZZ_TARGETS := resp_parser aof_reader rdb_value rdb_file acl_rules lua_api http_request config_file \
  gossip_datagram topology
FUZZ_LIBS := $(LUA_LIBS) -lfmt -llzf -lisal -lcrypto -lhttp_parser

ifeq ($(VARIANT),fuzz)
$(OUT)/obj/tests/fuzz/%.o: tests/fuzz/%.cc
	@mkdir -p $(@D)
	@echo "  CXX $<"
	@$(CXX) $(CXXFLAGS) $(FLAGS) -MF $(@:.o=.d) -MT $@ -c -o $@ $<

$(FUZZ_TARGETS:%=$(OUT)/%): $(OUT)/%: $(OUT)/obj/tests/fuzz/%_fuzz.o $(OUT)/libquoll.a
	@echo "  LINK $@"
	@$(CXX) $(FLAGS) -fsanitize=fuzzer -o $@ $^ $(FUZZ_LIBS)
$(OUT)/rdb_seeds: $(OUT)/obj/tests/fuzz/rdb_seeds.o $(OUT)/libquoll.a
	@$(CXX) $(FLAGS) -o $@ $^ $(FUZZ_LIBS)
$(OUT)/seeds: $(OUT)/rdb_seeds
	@$< $@
endif

fuzz-build:
	@$(MAKE) --no-print-directory VARIANT=fuzz $(FUZZ_TARGETS:%=build/fuzz/%) build/fuzz/seeds
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

# A cluster of processes on this machine, and a view of its ring; Ctrl-C ends it. More in scripts/cluster.
NODES ?= 3
REPLICAS ?= 0
cluster: deps
	@$(MAKE) --no-print-directory all
	@scripts/cluster --nodes $(NODES) --replicas $(REPLICAS)

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

bench-cluster:
	@scripts/install-deps bench
	@$(MAKE) --no-print-directory all
	@scripts/bench-cluster

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

-include $(shell find $(OUT)/obj $(OUT)/joined $(PRECOMPILED).d $(PRECOMPILED_tests).d -name '*.d' 2>/dev/null)
