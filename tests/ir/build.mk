# The IR's file tests and its random tester, each a program with the test target.

ir-test-libs := $(B)/lib/libjit.a $(B)/lib/libutil.a
ir-tests := $(B)/tests/ir/filetest $(B)/tests/ir/random

$(ir-tests): $(B)/tests/ir/%: $(B)/obj/tests/ir/%.o $(B)/obj/tests/ir/target.o \
    $(B)/obj/tests/ir/host.o $(ir-test-libs)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -pie -o $@ $(filter %.o,$^) -Wl,--start-group $(ir-test-libs) \
	    -Wl,--end-group $(LIBS_SHARED) -lm

check-deps += $(ir-tests)
check-tests += $(ir-tests)

-include $(patsubst %,$(B)/obj/tests/ir/%.d,filetest random target host)
