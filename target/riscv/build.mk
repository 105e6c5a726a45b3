src-riscv += target/riscv/decode.c
src-riscv += target/riscv/disas.c
src-riscv += target/riscv/model.c
src-riscv += target/riscv/random.c
src-riscv += target/riscv/target.c
src-riscv += target/riscv/translate.c
src-riscv += target/riscv/trans-int.c
src-riscv += target/riscv/trans-branch.c
src-riscv += target/riscv/trans-mem.c
src-riscv += target/riscv/trans-atomic.c
src-riscv += target/riscv/trans-bitmanip.c
src-riscv += target/riscv/trans-crypto.c
src-riscv += target/riscv/trans-csr.c
src-riscv += target/riscv/trans-fp.c
src-riscv += target/riscv/trans-priv.c
src-riscv += target/riscv/helper.c
src-riscv += target/riscv/helper-priv.c
src-riscv += target/riscv/helper-host.c

# The privileged architecture.
src-riscv += target/riscv/system.c
src-riscv += target/riscv/trap.c
src-riscv += target/riscv/csr.c
src-riscv += target/riscv/counter.c
src-riscv += target/riscv/mmu.c
src-riscv += target/riscv/pmp.c
src-riscv += target/riscv/state.c

# Integer helpers.
src-riscv += target/riscv/crypto.c
src-riscv += target/riscv/softfp.c
src-riscv += target/riscv/softfp-arith.c
src-riscv += target/riscv/softfp-compare.c
src-riscv += target/riscv/softfp-convert.c
src-riscv += target/riscv/softfp-fli.c

# Generated code keeps guest registers in the host's floating-point registers and saves none around a
# helper that is not marked IR_H_FP.
ifeq ($(shell uname -m),x86_64)
riscv-no-fp := target/riscv/helper.c target/riscv/crypto.c $(wildcard target/riscv/softfp*.c)
$(foreach f,$(riscv-no-fp),$(eval cflags-$(f) += -mgeneral-regs-only))
endif

# The decoder's tables.
hostprogs += target/riscv/gen-decode
gen-headers += build/gen/target/riscv/decode-tables.c.inc
build/host/target/riscv/gen-decode: $(wildcard target/riscv/insns*.def) target/riscv/formats.def
build/gen/target/riscv/decode-tables.c.inc: build/host/target/riscv/gen-decode
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$< >$@
