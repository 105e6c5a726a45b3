# x86 vCPUs: registers, models, page walk.
src-x86 += target/x86/model.c
src-x86 += target/x86/model-parse.c
src-x86 += target/x86/model-table.c
src-x86 += target/x86/features.c
src-x86 += target/x86/cpuid.c
src-x86 += target/x86/cpuid-cache.c
src-x86 += target/x86/target.c
src-x86 += target/x86/system.c
src-x86 += target/x86/segment.c
src-x86 += target/x86/mmu.c
src-x86 += target/x86/dump.c
