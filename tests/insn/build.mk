# The differential tester over random instruction streams: the program that writes guests.

insn-gen := $(B)/tests/insn/gen
insn-libs := $(patsubst %,$(B)/lib/lib%.a,riscv cpu mem jit util)
insn-objs := $(patsubst %,$(B)/obj/tests/insn/%.o,gen guest block image)

$(insn-gen): $(insn-objs) $(insn-libs)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -pie -o $@ $(insn-objs) -Wl,--start-group $(insn-libs) \
	    -Wl,--end-group $(LIBS_SHARED) -lm

check-deps += $(insn-gen)
check-tests += tests/insn/run tests/insn/system

-include $(insn-objs:.o=.d)
