# Tinamou's build: one make, no recursion, one build.mk a folder.
#
# What a folder's build.mk may say (paths are from the root):
#
#   src-LIB += util/log.c           a source of library LIB (see LIBS below); .c or .S
#   cflags-util/log.c := -O3        extra flags for one source
#   gen-headers += build/gen/x/y.h  made before any object is compiled; its rule is in the build.mk;
#                                   sources say #include "build/gen/x/y.h"
#   hostprogs += target/x/gen-y     target/x/gen-y.c becomes build/host/target/x/gen-y, a program
#                                   that runs during the build
#   unit-tests += NAME              tests/unit/NAME.c is a unit test (said in tests/unit/AREA.mk) ...
#   unit-libs-NAME := riscv jit     ... linked with these libraries (in link order)
#   unit-syslibs-NAME := $(GLIB_LIBS)  ... and these of the system
#   fuzz-targets, fuzz-libs-NAME    the same of fuzz targets; see tests/fuzz/README.md
#   check-tests += tests/x/y        an executable file that prints TAP, run by make check
#   check-deps += build/...         files to be made before the tests run
#   bench-deps += build/...         files to be made before make bench
#   programs += NAME                build/NAME, a static-pie, is a program of its own ...
#   program-syslibs-NAME := LIBS    (or, with these libraries of the system, a dynamic one)
#   program-main-NAME := x/y.c      ... with this source holding main() ...
#   program-libs-NAME := LIB...     ... and these libraries
#
# MODE=asan|ubsan|tsan|cov builds into build/MODE/, dynamically linked. Generated files and host
# programs are shared by all modes. V=1 shows the commands. CI=true makes warnings errors.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:

goals := $(or $(MAKECMDGOALS),all)
build-goals := $(filter-out clean distclean format help,$(goals))

all:

# make check and make demo are the first commands on a fresh machine: they bring what is missing.
# Where it cannot be installed, configure and the tests say what that costs.
ifneq ($(filter check demo,$(goals)),)
deps-done := $(shell scripts/install-deps >&2)
endif

ifneq ($(build-goals),)
include build/config.mk
endif

# Reconfigures with the options of the last time.
build/config.mk: configure VERSION
	./configure $(CONFIGURE_ARGS)

build/config.h: build/config.mk
	@:

MODE ?=
ifneq ($(filter-out asan ubsan tsan cov,$(MODE)),)
$(error MODE=$(MODE): expected asan, ubsan, tsan or cov)
endif
B := build$(if $(MODE),/$(MODE))
V ?= 0
Q := $(if $(filter-out 0,$(V)),,@)
say = $(if $(Q),@printf '  %-6s %s\n' '$(1)' '$(2)')

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wno-unused-parameter -Wvla -Wundef
ifneq ($(filter true,$(CI))$(filter yes,$(CONFIG_DEBUG)),)
WARN += -Werror
endif

mode-cflags-asan := -fsanitize=address -fno-omit-frame-pointer
mode-cflags-ubsan := -fsanitize=undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
mode-cflags-tsan := -fsanitize=thread
mode-cflags-cov := --coverage -O0
mode-cflags := $(mode-cflags-$(MODE))

CPPFLAGS := -I. -D_GNU_SOURCE
CFLAGS := -std=gnu11 $(if $(filter yes,$(CONFIG_DEBUG)),-Og,-O2) -g $(WARN) -fno-strict-aliasing \
          -fno-plt -fPIE -ffunction-sections -fdata-sections $(mode-cflags) $(CONFIG_CFLAGS)
LDFLAGS := -Wl,--gc-sections -pthread $(mode-cflags) $(CONFIG_LDFLAGS)
ifeq ($(MODE),)
link-static = $(CC) $(LDFLAGS) -static-pie $(CONFIG_RELR) $(LDFLAGS_STATIC)
static-syslibs := $(LIBS_STATIC) -lm
# What is linked statically there is so here too: relocating a shared capstone, with all the
# architectures that it knows, would cost each machine three megabytes and a millisecond.
link-dynamic = $(CC) $(LDFLAGS) -pie $(LDFLAGS_STATIC)
dynamic-syslibs := $(LIBS_STATIC) -lm
else
link-static = $(CC) $(LDFLAGS) -pie
static-syslibs := $(LIBS_SHARED) -lm
link-dynamic = $(link-static)
dynamic-syslibs := $(static-syslibs)
endif

# In link order: a library may use those to its right, and util.
LIBS := linux-user system tools hw io kvm accel tcg riscv x86 cpu mem jit util

include $(sort $(wildcard */build.mk */*/build.mk */*/*/build.mk tests/unit/*.mk))

ifneq ($(filter riscv64-linux-user,$(TARGETS)),)
ifneq ($(wildcard linux-user/main.c),)
programs += tinamou-riscv64
program-main-tinamou-riscv64 := linux-user/main.c
program-libs-tinamou-riscv64 := linux-user tcg riscv cpu mem jit util
endif
endif

ifneq ($(filter riscv64-softmmu,$(TARGETS)),)
ifneq ($(wildcard system/main-riscv64.c),)
programs += tinamou-system-riscv64
program-main-tinamou-system-riscv64 := system/main-riscv64.c
program-libs-tinamou-system-riscv64 := system hw io accel tcg riscv cpu mem jit util
program-syslibs-tinamou-system-riscv64 := $(SYSTEM_LIBS)
endif
endif
ifneq ($(filter x86_64-softmmu,$(TARGETS)),)
ifneq ($(wildcard system/main-x86_64.c),)
programs += tinamou-system-x86_64
program-main-tinamou-system-x86_64 := system/main-x86_64.c
program-libs-tinamou-system-x86_64 := system hw io kvm accel x86 cpu mem util
program-syslibs-tinamou-system-x86_64 := $(SYSTEM_LIBS)
endif
endif
ifeq ($(CONFIG_SYSTEM),yes)
ifneq ($(wildcard tools/img/main.c),)
programs += tinamou-img
program-main-tinamou-img := tools/img/main.c
program-libs-tinamou-img := tools io util
program-syslibs-tinamou-img := $(SYSTEM_LIBS)
endif
endif

objs = $(patsubst %,$(B)/obj/%.o,$(basename $(1)))
lib-files = $(patsubst %,$(B)/lib/lib%.a,$(1))

mains := $(foreach p,$(programs),$(program-main-$(p)))
all-src := $(sort $(foreach l,$(LIBS),$(src-$(l))) $(mains))
unit-src := $(patsubst %,tests/unit/%.c,$(unit-tests))
all-objs := $(call objs,$(all-src) $(unit-src))
unit-bins := $(patsubst %,$(B)/tests/unit/%,$(unit-tests))
host-bins := $(patsubst %,build/host/%,$(hostprogs))
program-bins := $(patsubst %,$(B)/%,$(programs))

all: $(program-bins) $(if $(programs),,$(call lib-files,$(LIBS)))

# ---- objects --------------------------------------------------------------------------------

# A change of flags, compiler or mode rebuilds: the stamp's content is the command line. What turns
# warnings into errors changes no object.
stamp-text := $(filter-out -Werror,$(CC) $(CPPFLAGS) $(CFLAGS))
ifneq ($(build-goals),)
ifneq ($(stamp-text),$(file <$(B)/flags))
$(shell mkdir -p $(B))
$(file >$(B)/flags,$(stamp-text))
endif
endif

$(B)/obj/%.o: %.c $(B)/flags | build/config.h $(gen-headers)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(cflags-$<) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

$(B)/obj/%.o: %.S $(B)/flags | build/config.h $(gen-headers)
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(cflags-$<) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

# The list of members is a prerequisite, so that removing a source from a build.mk is noticed.
define library
src-$(1) := $$(sort $$(filter-out $$(mains),$$(src-$(1))))
ifneq ($$(build-goals),)
ifneq ($$(strip $$(src-$(1))),$$(strip $$(file <$$(B)/lib/$(1).list)))
$$(shell mkdir -p $$(B)/lib)
$$(file >$$(B)/lib/$(1).list,$$(src-$(1)))
endif
endif
$$(B)/lib/lib$(1).a: $$(call objs,$$(src-$(1))) $$(B)/lib/$(1).list
	$$(call say,AR,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)rm -f $$@ && ar rcsTD $$@ $$(filter %.o,$$^)
endef
$(foreach l,$(LIBS),$(eval $(call library,$(l))))
$(B)/flags $(foreach l,$(LIBS),$(B)/lib/$(l).list):
	@mkdir -p $(@D) && touch $@

# ---- programs -------------------------------------------------------------------------------

define program
$$(B)/$(1): $$(call objs,$$(program-main-$(1))) $$(call lib-files,$$(program-libs-$(1)))
	$$(call say,LINK,$$@)
	$$(Q)$$(if $$(program-syslibs-$(1)),$$(link-dynamic),$$(link-static)) -o $$@ $$(filter %.o,$$^) \
	    -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(program-syslibs-$(1)) \
	    $$(if $$(program-syslibs-$(1)),$$(dynamic-syslibs),$$(static-syslibs))
endef
$(foreach p,$(programs),$(eval $(call program,$(p))))

define unit
$$(B)/tests/unit/$(1): $$(B)/obj/tests/unit/$(1).o $$(call lib-files,$$(unit-libs-$(1)))
	$$(call say,LINK,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(LDFLAGS) -pie -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) \
	    -Wl,--end-group $$(unit-syslibs-$(1)) $$(LIBS_SHARED) -lm
endef
$(foreach t,$(unit-tests),$(eval $(call unit,$(t))))

include tests/fuzz/rules.mk

define hostprog
build/host/$(1): $(1).c build/config.h
	$$(call say,HOSTCC,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CPPFLAGS) -std=gnu11 -O1 -g $$(WARN) -MMD -MP -MF $$@.d -MT $$@ -o $$@ $$<
endef
$(foreach h,$(hostprogs),$(eval $(call hostprog,$(h))))

# ---- tests ----------------------------------------------------------------------------------

.PHONY: all check check-build demo bench install clean distclean compile_commands.json \
        format help

check-build: all $(unit-bins) $(check-deps)

# make check FILTER=text runs the tests whose name contains the text.
FILTER ?=
check: check-build
	$(Q)TINAMOU_BUILD=$(B) CC='$(CC)' tests/run $(if $(MODE),--mode $(MODE)) \
	    $(if $(FILTER),--filter '$(FILTER)') --known-failures tests/known-failures \
	    $(sort $(check-tests)) $(unit-bins)

demo: all
	$(Q)TINAMOU_BUILD=$(B) scripts/demo

bench: all $(bench-deps)
	$(Q)TINAMOU_BUILD=$(B) tests/bench/run

# ---- the rest -------------------------------------------------------------------------------

DESTDIR ?=
bindir := $(DESTDIR)$(PREFIX)/bin
mandir := $(DESTDIR)$(PREFIX)/share/man/man1

install: all
	install -d '$(bindir)' '$(mandir)'
	$(if $(programs),install -m 755 $(program-bins) '$(bindir)')
	$(if $(wildcard docs/man/*.1),install -m 644 $(wildcard docs/man/*.1) '$(mandir)')

comma := ,
define compile-entry
$(2){"directory": "$(CURDIR)", "file": "$(1)", "command": "$(subst ",\",$(CC) $(CPPFLAGS) \
$(CFLAGS) $(cflags-$(1))) -c $(1)"}

endef
compile_commands.json: $(gen-headers)
	$(file >$@,[)
	$(foreach s,$(all-src) $(unit-src),$(file >>$@,$(call compile-entry,$(s),$(if \
	    $(filter $(firstword $(all-src)),$(s)),,$(comma)))))
	$(file >>$@,])
	@echo "Wrote $@"

format:
	clang-format-14 -i $(filter-out build/%,$(sort $(wildcard $(foreach d,. * */* */*/*,$(d)/*.c $(d)/*.h))))

clean:
	rm -rf build compile_commands.json

distclean: clean

help:
	@echo 'make [all]      build the programs'
	@echo 'make check      build and run every test; FILTER=text chooses'
	@echo 'make demo       fetch RISC-V programs from Debian and run them'
	@echo 'make bench      measure against native and QEMU'
	@echo 'make install    honours DESTDIR; ./configure --prefix says where'
	@echo 'make fuzz       build the fuzz targets; tests/fuzz/run runs them'
	@echo 'make compile_commands.json, make clean'
	@echo 'MODE=asan|ubsan|tsan|cov, V=1, CI=true'

ifneq ($(build-goals),)
-include $(all-objs:.o=.d) $(patsubst %,%.d,$(host-bins))
endif
