# The one entry point that people type. `make help` lists the targets.

CARGO ?= cargo
CC ?= cc
CXX ?= c++
export JOBS ?= 2
TARGET := $(or $(CARGO_TARGET_DIR),target)
BUILD := build
TALLY := $(BUILD)/tally

# ---- The library --------------------------------------------------------

.PHONY: all help
all: lib-release ## build the library (release)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

.PHONY: lib-debug lib-release
lib-debug:
	$(CARGO) build --quiet --lib
	@ln -sf libpytstate.so $(TARGET)/debug/libpytstate.so.0
lib-release:
	$(CARGO) build --quiet --lib --release
	@ln -sf libpytstate.so $(TARGET)/release/libpytstate.so.0

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
	@$(CC) $(CFLAGS_ALL) $(3) -MMD -c $$< -o $$@
$(BUILD)/$(1)/%: $(2)/%.c $(HARNESS:%=$(BUILD)/$(1)/harness/%.o) $(5)
	@mkdir -p $$(@D)
	@$(CC) $(CFLAGS_ALL) $(3) -MMD -MF $$@.d $$< \
	    $(HARNESS:%=$(BUILD)/$(1)/harness/%.o) -o $$@ $(4)
endef

OURS := -DPYTSTATE_UNDER_TEST=1 -Iinclude
# $(call shared,PROFILE): links the shared library of that profile.
shared = -L$(TARGET)/$(1) -lpytstate -Wl,-rpath,$(abspath $(TARGET)/$(1))
so = $(TARGET)/$(1)/libpytstate.so

$(eval $(call variant,debug,c_tests,$(OURS) -O0 -g,\
    $(call shared,debug),$(call so,debug)))
$(eval $(call variant,release,c_tests,$(OURS) -O2 -g -DNDEBUG,\
    $(call shared,release),$(call so,release)))
$(eval $(call variant,diff-ours,c_tests/differential,\
    $(OURS) -Iinclude/compat -O2 -g,\
    $(call shared,release),$(call so,release)))

$(TARGET)/debug/libpytstate.so: | lib-debug
$(TARGET)/release/libpytstate.so: | lib-release

.PHONY: suite-debug suite-release
suite-debug: lib-debug $(SUITE:%=$(BUILD)/debug/%) ## C suite, debug build
	@c_tests/run -t $(TALLY) $(SUITE:%=$(BUILD)/debug/%)
suite-release: lib-release $(SUITE:%=$(BUILD)/release/%) ## C suite, release
	@c_tests/run -t $(TALLY) $(SUITE:%=$(BUILD)/release/%)

.PHONY: selftest
selftest: ## the harness reports what it must
	@mkdir -p $(BUILD)
	@$(CC) $(CFLAGS_ALL) -O1 -g c_tests/harness/*.c -o $(BUILD)/selftest
	@c_tests/harness/selftest $(BUILD)/selftest

# ---- Differential: the same source against us and against a libpython ----

PYTHON_MK := $(BUILD)/python-$(or $(PYENV_VERSION),any)$(subst /,-,$(PYTHON_CONFIG)).mk
ifneq ($(filter differential diff-%,$(MAKECMDGOALS)),)
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

-include $(wildcard $(BUILD)/*/*.d $(BUILD)/*/harness/*.d)
