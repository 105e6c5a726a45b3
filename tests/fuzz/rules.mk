# How fuzz targets are built: everything that they are linked with is compiled once more, by clang
# with libFuzzer's instrumentation and sanitizers, into build/fuzz/. Included when all libraries
# and targets are known. `make fuzz` builds them; tests/fuzz/run does so and runs them.

FUZZ_CC ?= clang-14
FUZZ_CFLAGS := -std=gnu11 -O1 -g $(WARN) -fno-strict-aliasing -fno-omit-frame-pointer \
               -fsanitize=address,undefined -fno-sanitize-recover=undefined
fuzz-bins := $(patsubst %,build/fuzz/%,$(fuzz-targets))
fuzz-objs = $(patsubst %,build/fuzz/obj/%.o,$(basename $(1)))
fuzz-used-libs := $(sort $(foreach t,$(fuzz-targets),$(fuzz-libs-$(t))))

.PHONY: fuzz fuzz-names
fuzz: $(fuzz-bins)

fuzz-names:
	@printf '%s\n' $(sort $(fuzz-targets))

build/fuzz/obj/%.o: %.c tests/fuzz/rules.mk | build/config.h $(gen-headers)
	$(call say,FUZZCC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link $(cflags-$<) \
	    -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

build/fuzz/obj/%.o: %.S | build/config.h $(gen-headers)
	$(call say,FUZZAS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_CFLAGS) $(cflags-$<) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

define fuzz-library
build/fuzz/lib/lib$(1).a: $$(call fuzz-objs,$$(src-$(1))) build/lib/$(1).list
	$$(call say,AR,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)rm -f $$@ && ar rcsTD $$@ $$(filter %.o,$$^)
endef
$(foreach l,$(fuzz-used-libs),$(eval $(call fuzz-library,$(l))))
ifneq ($(MODE),)
$(patsubst %,build/lib/%.list,$(fuzz-used-libs)):
	@mkdir -p $(@D) && touch $@
endif

define fuzz-target
build/fuzz/$(1): build/fuzz/obj/tests/fuzz/$(1).o \
                 $$(patsubst %,build/fuzz/lib/lib%.a,$$(fuzz-libs-$(1)))
	$$(call say,LINK,$$@)
	$$(Q)$$(FUZZ_CC) $$(FUZZ_CFLAGS) -fsanitize=fuzzer -pthread -Wl,--gc-sections -o $$@ \
	    $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group \
	    $$(fuzz-syslibs-$(1)) $$(LIBS_SHARED) -lm
endef
$(foreach t,$(fuzz-targets),$(eval $(call fuzz-target,$(t))))

ifneq ($(build-goals),)
-include $(patsubst %,%.d,$(basename $(call fuzz-objs,$(sort $(foreach l,$(fuzz-used-libs),$(src-$(l))) \
    $(patsubst %,tests/fuzz/%.c,$(fuzz-targets))))))
endif
