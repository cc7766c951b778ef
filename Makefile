# The one entry point that people type. `make help` lists the targets.

CARGO ?= cargo
CC ?= cc
CXX ?= c++
export JOBS ?= 2
TARGET := $(or $(CARGO_TARGET_DIR),target)
BUILD := build
TALLY := $(BUILD)/tally

# ---- What people type -----------------------------------------------------

.PHONY: all demo test check header install help clean
all: lib-release ## build the library (release)

demo: lib-release tools explored $(BUILD)/release/gallery ## run the gallery of historic races, and find four of them
	@$(BUILD)/release/gallery
	@c_tests/explore/demo $(TOOLS)/pytstate $(BUILD)/explore

test: lib-release ## Rust tests, C suite and differential suite
	@.ci/stage begin
	@.ci/stage tests 'rust tests' $(CARGO) test --quiet
	@.ci/stage run 'C suite' $(MAKE) --no-print-directory suite-release
	@.ci/stage run 'differential suite' $(MAKE) --no-print-directory differential
	@.ci/stage end

check: ## everything that must hold before a change lands
	@.ci/check

header: ## copy the headers that the sources make into include/
	@PYTSTATE_BLESS=1 $(CARGO) test --quiet --test headers committed > $(BUILD)/header.log 2>&1 \
	    || { cat $(BUILD)/header.log; exit 1; }

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile packaging/*.mk | \
	    expand -t 20

clean: ## remove what the C builds made (cargo clean does the rest)
	rm -rf $(BUILD)

$(shell mkdir -p $(BUILD))

# ---- The library ----------------------------------------------------------

.PHONY: lib-debug lib-release
# A build that will take a while says so.
lib-debug:
	@[ -e $(TARGET)/debug/libpytstate.so ] || echo '# cargo builds the library (debug)'
	@$(CARGO) build --quiet --lib
lib-release:
	@[ -e $(TARGET)/release/libpytstate.so ] || \
	    echo '# cargo builds the library (release): about a minute'
	@$(CARGO) build --quiet --lib --release

# ---- C programs, once per variant ---------------------------------------

.SECONDARY:
WARNINGS := -Wall -Wextra -Wpedantic -Werror
CFLAGS_ALL := -std=c11 -D_GNU_SOURCE $(WARNINGS) -pthread -Ic_tests/harness
HARNESS := harness checks children peers
SUITE := $(patsubst c_tests/%.c,%,$(wildcard c_tests/test_*.c))
DIFFERENTIAL := $(patsubst c_tests/differential/%.c,%,\
                  $(wildcard c_tests/differential/test_*.c))

# $(call variant,NAME,SOURCE_FOLDER,CFLAGS,LDFLAGS,WHAT_IT_LINKS): rules for
# build/NAME/harness/*.o and build/NAME/test_*.
define variant
$(BUILD)/$(1)/harness/%.o: c_tests/harness/%.c
	@mkdir -p $$(@D)
	@$(CC) $(CFLAGS_ALL) $(3) -MMD -MP -c $$< -o $$@
$(BUILD)/$(1)/%: $(2)/%.c $(HARNESS:%=$(BUILD)/$(1)/harness/%.o) $(5)
	@mkdir -p $$(@D)
	@$(CC) $(CFLAGS_ALL) $(3) -MMD -MP -MF $$@.d $$< \
	    $(HARNESS:%=$(BUILD)/$(1)/harness/%.o) -o $$@ $(4)
endef

comma := ,
OURS := -DPYTSTATE_UNDER_TEST=1 -Iinclude
# $(call shared,PROFILE): links the shared library of that profile.
# The path of the tree may have spaces, which make's functions would split.
FROM_HERE := $(if $(filter /%,$(TARGET)),,$(CURDIR)/)
shared = -L$(TARGET)/$(1) -lpytstate -Wl,-rpath,"$(FROM_HERE)$(TARGET)/$(1)"
so = $(TARGET)/$(1)/libpytstate.so

$(eval $(call variant,debug,c_tests,$(OURS) -O0 -g,\
    $(call shared,debug),| $(call so,debug)))
$(eval $(call variant,release,c_tests,$(OURS) -O2 -g -DNDEBUG,\
    $(call shared,release),| $(call so,release)))
# What the runtimes of sanitizers lack: for both, and for ThreadSanitizer.
FORKS := $(BUILD)/tsan/forks.o
GAPS := $(BUILD)/tsan/runtime_gap.o
$(eval $(call variant,tsan,c_tests,$(OURS) -O1 -g -fsanitize=thread,\
    $(GAPS) $(FORKS) $(TARGET)/tsan/libpytstate.a -ldl -lm \
    -Wl$$(comma)--wrap=pthread_create,\
    $(GAPS) $(FORKS) $(TARGET)/tsan/libpytstate.a))
$(eval $(call variant,asan,c_tests,$(OURS) -O1 -g -fsanitize=address,\
    $(FORKS) $(TARGET)/asan/libpytstate.a -ldl -lm \
    -Wl$$(comma)--wrap=pthread_create,\
    $(FORKS) $(TARGET)/asan/libpytstate.a))
$(GAPS) $(FORKS): $(BUILD)/tsan/%.o: c_tests/tsan/%.c
	@mkdir -p $(@D)
	@$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O1 -g -fno-builtin -c $< -o $@
$(eval $(call variant,diff-ours,c_tests/differential,\
    $(OURS) -Iinclude/compat -O2 -g,\
    $(call shared,release),| $(call so,release)))

$(TARGET)/debug/libpytstate.so: lib-debug
$(TARGET)/release/libpytstate.so: lib-release

GALLERY := $(wildcard c_tests/gallery/*.c)
$(BUILD)/release/gallery: $(GALLERY) $(wildcard c_tests/gallery/*.h) | $(call so,release)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) $(OURS) -O2 -g $(GALLERY) -o $@ $(call shared,release)

# The command, the preload library, and plain programs for them: no sync point.
.PHONY: tools
TOOLS := $(TARGET)/tools
tools: ## the command pytstate and its preload library
	@$(CARGO) build --quiet --profile tool -p pytstate-cli -p pytstate-control
	@mkdir -p $(TOOLS)
	@for file in pytstate libpytstate_control.so; do \
	    cmp -s $(TARGET)/tool/$$file $(TOOLS)/$$file || \
	        cp $(TARGET)/tool/$$file $(TOOLS)/$$file; done
	@$(TOOLS)/pytstate man > $(TOOLS)/pytstate.1
EXPLORED := $(patsubst c_tests/explore/%.c,%,$(wildcard c_tests/explore/*.c))
$(BUILD)/explore/%: c_tests/explore/%.c c_tests/explore/host.h | $(call so,release)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) $(OURS) -O1 -g $< -o $@ $(call shared,release)
.PHONY: explored explored-tests
explored: lib-release $(EXPLORED:%=$(BUILD)/explore/%)
explored-tests: tools explored ## the command on good, racy and hostile programs
	@$(CARGO) test --quiet -p pytstate-cli -p pytstate-control -p pytstate-protocol

.PHONY: suite-debug suite-release
suite-debug: lib-debug $(SUITE:%=$(BUILD)/debug/%) ## C suite, debug build
	@c_tests/run -t $(TALLY) $(SUITE:%=$(BUILD)/debug/%)
suite-release: lib-release $(SUITE:%=$(BUILD)/release/%) ## C suite, release
	@c_tests/run -t $(TALLY) $(SUITE:%=$(BUILD)/release/%)

.PHONY: suite-nogil
suite-nogil: lib-release $(SUITE:%=$(BUILD)/release/%) ## C suite, main interpreter without a GIL
	@PYTHON_GIL=0 c_tests/run -t $(TALLY) $(SUITE:%=$(BUILD)/release/%)

.PHONY: selftest
selftest: ## the harness reports what it must
	@mkdir -p $(BUILD)
	@$(CC) $(CFLAGS_ALL) -O1 -g c_tests/harness/*.c -o $(BUILD)/selftest
	@c_tests/harness/selftest $(BUILD)/selftest

# ---- Sanitizers, valgrind, soak -------------------------------------------

HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# $(call sanitized,NAME,FULL_NAME): the static library, instrumented. The
# target is named so that build scripts and their crates are left alone (and
# are not built once more).
define sanitized
$(TARGET)/$(1)/libpytstate.a: lib-$(1)
.PHONY: lib-$(1)
lib-$(1):
	@RUSTC_BOOTSTRAP=1 CARGO_PROFILE_DEV_OPT_LEVEL=1 \
	    RUSTFLAGS="-Zsanitizer=$(2) -Cunsafe-allow-abi-mismatch=sanitizer" \
	    $(CARGO) rustc --quiet --lib --crate-type staticlib \
	    --target $$(HOST)
	@mkdir -p $(TARGET)/$(1)
	@cmp -s $(TARGET)/$$(HOST)/debug/libpytstate.a $(TARGET)/$(1)/libpytstate.a || \
	    cp $(TARGET)/$$(HOST)/debug/libpytstate.a $(TARGET)/$(1)/
endef
$(eval $(call sanitized,tsan,thread))
$(eval $(call sanitized,asan,address))

.PHONY: tsan tsan-proof tsan-hosts asan valgrind leaks soak storms
# The sanitizer is linked, and sees both languages: planted races are found.
tsan-proof:
	@c_tests/tsan/proof $(BUILD)/tsan

# A host compiled with the sanitizer over the plain library.
tsan-hosts: lib-release ## a host under ThreadSanitizer: no false race, planted ones are found
	@c_tests/tsan/hosts $(BUILD)/tsan $(TARGET)/release

# Twice: with the GIL of the main interpreter and without it. A started thread
# that comes too late for its runtime ends, and the next life joins it: where
# there is none, it is no leak. Threads that hang for ever by contract hold an
# exit up, but not for a whole second each.
TSAN := exitcode=66 halt_on_error=1 die_after_fork=0 report_thread_leaks=0 \
    atexit_sleep_ms=100
tsan: tsan-proof tsan-hosts lib-tsan $(SUITE:%=$(BUILD)/tsan/%) ## C suite under ThreadSanitizer, with a GIL and without
	@TSAN_OPTIONS="$(TSAN) $(TSAN_OPTIONS)" TEST_LIMIT_SCALE=4 \
	    c_tests/run -t $(TALLY) $(SUITE:%=$(BUILD)/tsan/%)
	@echo '# once more, with PYTHON_GIL=0'
	@PYTHON_GIL=0 TSAN_OPTIONS="$(TSAN) $(TSAN_OPTIONS)" TEST_LIMIT_SCALE=4 \
	    c_tests/run -t $(TALLY) $(SUITE:%=$(BUILD)/tsan/%)

asan: lib-asan $(SUITE:%=$(BUILD)/asan/%) ## C suite under AddressSanitizer
	@ASAN_OPTIONS="exitcode=66 $(ASAN_OPTIONS)" TEST_LIMIT_SCALE=4 \
	    c_tests/run -t $(TALLY) $(SUITE:%=$(BUILD)/asan/%)

valgrind: lib-debug $(SUITE:%=$(BUILD)/debug/%) ## C suite under valgrind
	@WRAP="valgrind --quiet --error-exitcode=66 --fair-sched=yes" \
	    TEST_LIMIT_SCALE=10 \
	    c_tests/run -t $(TALLY) $(SUITE:%=$(BUILD)/debug/%)

# One process from begin to end, so that what it leaves behind is seen.
leaks: lib-debug $(BUILD)/debug/test_storm ## a joined run leaves no memory behind
	@valgrind --quiet --error-exitcode=66 --fair-sched=yes --leak-check=full \
	    --errors-for-leak-kinds=definite,indirect,possible \
	    $(BUILD)/debug/test_storm --no-fork 'a joined run'

storms: lib-release $(BUILD)/release/test_storm ## forks, lives and ends by the thousand
	@STORM=full c_tests/run $(BUILD)/release/test_storm

ROUNDS ?= 20
soak: storms $(SUITE:%=$(BUILD)/release/%) ## the storms, then the C suite ROUNDS times, perturbed
	@for round in $$(seq $(ROUNDS)); do \
	    echo "# round $$round of $(ROUNDS), PYTSTATE_PERTURB=$$round:100:500"; \
	    PYTSTATE_PERTURB=$$round:100:500 TEST_LIMIT_SCALE=3 \
	        c_tests/run $(SUITE:%=$(BUILD)/release/%) > $(BUILD)/soak.log || \
	        { cat $(BUILD)/soak.log; exit 1; }; \
	    tail -n 1 $(BUILD)/soak.log; \
	done

# ---- Late threads, random programs ----------------------------------------

LATE := $(wildcard c_tests/late/*.c)
$(BUILD)/release/late: $(LATE) c_tests/late/stage.h | $(call so,release)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) $(OURS) -O2 -g $(LATE) -o $@ $(call shared,release)
$(BUILD)/asan/late: $(LATE) c_tests/late/stage.h $(FORKS) $(TARGET)/asan/libpytstate.a
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) $(OURS) -O1 -g -fsanitize=address $(LATE) $(FORKS) \
	    -o $@ $(TARGET)/asan/libpytstate.a -ldl -lm -Wl,--wrap=pthread_create
# $(call fuzz_program,NAME): the same for a program of c_tests/fuzz.
define fuzz_program
$(BUILD)/release/$(1): c_tests/fuzz/$(1).c | $(call so,release)
	@mkdir -p $$(@D)
	@$(CC) $(CFLAGS_ALL) $(OURS) -O2 -g $$< -o $$@ $(call shared,release)
$(BUILD)/asan/$(1): c_tests/fuzz/$(1).c $(FORKS) $(TARGET)/asan/libpytstate.a
	@mkdir -p $$(@D)
	@$(CC) $(CFLAGS_ALL) $(OURS) -O1 -g -fsanitize=address $$< $(FORKS) \
	    -o $$@ $(TARGET)/asan/libpytstate.a -ldl -lm -Wl,--wrap=pthread_create
endef
$(eval $(call fuzz_program,puppet))
$(eval $(call fuzz_program,illegal))

.PHONY: late late-short late-asan fuzz fuzz-short
late: lib-release $(BUILD)/release/late ## the n-th attach of each scenario is late, for every n
	@c_tests/run -t $(TALLY) $(BUILD)/release/late
late-short: lib-release $(BUILD)/release/late
	@LATE_SHORT=1 c_tests/run -t $(TALLY) $(BUILD)/release/late
late-asan: lib-asan $(BUILD)/asan/late
	@ASAN_OPTIONS="exitcode=66 detect_leaks=0 $(ASAN_OPTIONS)" \
	    c_tests/run -t $(TALLY) $(BUILD)/asan/late

# SECONDS= for each of four parts; SEED= runs one program, of the number that a
# failure printed, on the release build and under AddressSanitizer.
SECONDS ?= 15
SEED ?=
FUZZ_ASAN := ASAN_OPTIONS="exitcode=66 detect_leaks=0 $(ASAN_OPTIONS)" \
    TEST_LIMIT_SCALE=3
fuzz: lib-release lib-asan $(BUILD)/release/puppet $(BUILD)/release/illegal \
    $(BUILD)/asan/puppet $(BUILD)/asan/illegal ## random programs against a model: SECONDS=, SEED=
	@c_tests/fuzz/fuzz $(BUILD)/release/puppet --seconds $(SECONDS) $(SEED:%=--seed %)
	@$(FUZZ_ASAN) c_tests/fuzz/fuzz $(BUILD)/asan/puppet --seconds $(SECONDS) $(SEED:%=--seed %)
	@$(if $(SEED),,$(BUILD)/release/illegal --seconds $(SECONDS))
	@$(if $(SEED),,$(FUZZ_ASAN) $(BUILD)/asan/illegal --seconds $(SECONDS))
fuzz-short: lib-release $(BUILD)/release/puppet $(BUILD)/release/illegal
	@c_tests/fuzz/fuzz $(BUILD)/release/puppet --first 1 --seconds 7
	@$(BUILD)/release/illegal --first 1 --seconds 3

# ---- Without a futex ------------------------------------------------------

.PHONY: portable
portable: ## unit tests over the futex of systems that have none
	@RUSTFLAGS="--cfg pytstate_portable" $(CARGO) test --quiet --lib \
	    --target-dir $(TARGET)/portable

# ---- Models ---------------------------------------------------------------

.PHONY: loom
loom: ## the small machines under loom: every interleaving
	@CARGO_PROFILE_DEV_OPT_LEVEL=3 RUSTFLAGS="--cfg loom" \
	    $(CARGO) test --quiet --lib --target $(HOST)

.PHONY: model
model: ## the end of the runtime, state by state, under spin; planted bugs are found
	@model/run $(BUILD)/model -t $(TALLY)

# ---- Planted bugs ---------------------------------------------------------

# In a copy of the tree, with builds of its own: build/mutants.
.PHONY: mutants mutants-anchors
mutants: ## plants bugs one by one, each must be caught; MUTANT=name for one
	@c_tests/mutants/run $(if $(MUTANT),$(MUTANT),--table docs/proofs.md)
mutants-anchors: ## each planted bug still has its place in the sources
	@c_tests/mutants/run --check -t $(TALLY)

# ---- Differential: the same source against us and against a libpython ----

PYTHON_MK := $(BUILD)/python-$(or $(PYENV_VERSION),any)$(subst /,-,$(PYTHON_CONFIG)).mk
ifneq ($(filter diff-cpython bench-cpython bench-locks-cpython,\
         $(MAKECMDGOALS)),)
-include $(PYTHON_MK)
endif
$(PYTHON_MK):
	@mkdir -p $(@D)
	@CC="$(CC)" PYTHON_CONFIG="$(PYTHON_CONFIG)" \
	    c_tests/differential/find-python $@ || true

DIFF_PY := diff-cpython-$(PY_VERSION)
$(eval $(call variant,$(DIFF_PY),c_tests/differential,$$(PY_CFLAGS) -O2 -g,\
    $$(PY_LDFLAGS),))

.PHONY: differential diff-ours diff-cpython
differential: ## public API cases against us and against a libpython
	@$(MAKE) --no-print-directory diff-ours
	@$(MAKE) --no-print-directory diff-cpython
diff-ours: lib-release $(DIFFERENTIAL:%=$(BUILD)/diff-ours/%)
	@c_tests/run -t $(TALLY) $(DIFFERENTIAL:%=$(BUILD)/diff-ours/%)
ifeq ($(PY_VERSION),)
diff-cpython:
	@echo "# SKIP no usable libpython (3.11 to 3.15) was found"
	@echo "0 0 1" >> $(TALLY)
else
diff-cpython: $(DIFFERENTIAL:%=$(BUILD)/$(DIFF_PY)/%)
	@echo "# against CPython $(PY_VERSION)"
	@c_tests/run -t $(TALLY) $(DIFFERENTIAL:%=$(BUILD)/$(DIFF_PY)/%)
endif

PEERS_ROOT ?= $(BUILD)/peers/root
PEERS_INSTALLED = $(shell pyenv versions --bare 2> /dev/null | \
                    grep -E '^3\.1[1-3]\.[0-9]+$$' | sort -V)
.PHONY: peers
peers: ## the differential suite against every CPython that can be had, 3.11 to 3.15
	@for version in $(PEERS_INSTALLED); do \
	    PYENV_VERSION=$$version $(MAKE) --no-print-directory diff-cpython || exit 1; \
	done
	@mkdir -p $(BUILD)/peers
	@c_tests/peers/prepare $(PEERS_ROOT) || exit 0; \
	for version in 3.14 3.15; do \
	    c_tests/peers/run -t $(TALLY) $(PEERS_ROOT) $$version || exit 1; \
	done
	@$(MAKE) --no-print-directory compat-proof

.PHONY: thirdparty
thirdparty: lib-release ## real users of the API, downloaded and compiled unmodified: docs/conformance.md
	@mkdir -p $(BUILD)/thirdparty
	@{ printf '# Conformance\n\nReal users of the thread API, compiled unmodified against this library and against\n'; \
	    printf 'a libpython; `make thirdparty` on %s. Drivers and stubs: `c_tests/thirdparty`.\n\n' "$$(date -u +%Y-%m-%d)"; \
	    c_tests/thirdparty/run $(abspath $(BUILD))/thirdparty $(abspath $(TARGET))/release $(abspath $(PEERS_ROOT)); \
	} > $(BUILD)/conformance.md; status=$$?; grep '^| ' $(BUILD)/conformance.md; \
	[ $$status = 0 ] && cp $(BUILD)/conformance.md docs/conformance.md

.PHONY: compat-proof
compat-proof: lib-release ## the rows of docs/compat.md on each CPython and here: docs/compat-proof.md
	@{ printf '# Rows of version emulation, there and here\n\n'; \
	    printf 'Made by `make peers` on %s.\n\n' "$$(date -u +%Y-%m-%d)"; \
	    c_tests/peers/compat $(PEERS_ROOT) $(abspath $(TARGET))/release; \
	} > $(BUILD)/compat-proof.md && cp $(BUILD)/compat-proof.md docs/compat-proof.md \
	    || { grep differs $(BUILD)/compat-proof.md; exit 1; }

# ---- Benchmarks: the same source against us and against a libpython -------

BENCH := $(patsubst c_tests/bench/%.c,%,$(wildcard c_tests/bench/*.c))
define bench_program
$(BUILD)/bench/$(1)/%: c_tests/bench/%.c $(3)
	@mkdir -p $$(@D)
	@$(CC) $(CFLAGS_ALL) -O2 -g $(2) $$< -o $$@ $(4)
endef
$(eval $(call bench_program,ours,$(OURS) -Iinclude/compat,\
    | $(call so,release),$(call shared,release)))
$(eval $(call bench_program,cpython,$$(PY_CFLAGS),,$$(PY_LDFLAGS)))

.PHONY: bench bench-ours bench-cpython
bench: ## cost of each call: ratios to a libpython, from one run
	@$(MAKE) --no-print-directory lib-release bench-cpython
bench-ours: lib-release $(BUILD)/bench/ours/bench_api ## the same, without a libpython
	@$(BUILD)/bench/ours/bench_api
ifeq ($(PY_VERSION),)
bench-cpython: bench-ours
	@echo "# SKIP no usable libpython (3.11 to 3.15) was found: no ratios"
else
bench-cpython: $(BUILD)/bench/ours/bench_api $(BUILD)/bench/cpython/bench_api
	@echo "# against CPython $(PY_VERSION)"
	@c_tests/bench/compare $^ c_tests/bench/ceilings $(ROUNDS)
endif

BENCH_ROUNDS ?= 5
LOCKS_RUST := $(CARGO) bench --quiet --bench locks
$(BUILD)/bench/locks-ours: c_tests/bench/locks/locks.c $(call so,release)
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) $(OURS) -Iinclude/compat -O2 -g $< -o $@ \
	    $(call shared,release)
$(BUILD)/bench/locks-cpython: c_tests/bench/locks/locks.c
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS_ALL) $(PY_CFLAGS) -O2 -g $< -o $@ $(PY_LDFLAGS)

.PHONY: bench-locks bench-locks-cpython
bench-locks: lib-release ## the locks: ratios to libpython and to Rust's
	@$(LOCKS_RUST) --no-run
	@$(MAKE) --no-print-directory bench-locks-cpython
ifeq ($(PY_VERSION),)
bench-locks-cpython: $(BUILD)/bench/locks-ours
	@echo "# SKIP no usable libpython (3.11 to 3.15) was found: no ratios to it"
	@c_tests/bench/locks/compare $< - "$(LOCKS_RUST)" $(BENCH_ROUNDS)
else
bench-locks-cpython: $(BUILD)/bench/locks-ours $(BUILD)/bench/locks-cpython
	@echo "# against CPython $(PY_VERSION)"
	@c_tests/bench/locks/compare $^ "$(LOCKS_RUST)" $(BENCH_ROUNDS)
endif

include packaging/install.mk
include packaging/release.mk

-include $(wildcard $(BUILD)/*/*.d $(BUILD)/*/harness/*.d)
