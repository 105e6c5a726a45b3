# File tests of the host code: a program that shows it, and the script that compares.

code-test-libs := $(foreach l,tcg riscv cpu mem jit util,$(B)/lib/lib$(l).a)

$(B)/tests/code/hostcode: $(B)/obj/tests/code/hostcode.o $(code-test-libs)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -pie -o $@ $(filter %.o,$^) -Wl,--start-group $(code-test-libs) \
	    -Wl,--end-group $(LIBS_SHARED) -lm

check-deps += $(B)/tests/code/hostcode
check-tests += tests/code/run

# make bless writes the host code as it is now into the expectations of tests/code.
.PHONY: bless
bless: $(B)/tests/code/hostcode
	$(Q)TINAMOU_BUILD=$(B) tests/code/run --bless

-include $(B)/obj/tests/code/hostcode.d
