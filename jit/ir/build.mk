src-jit += jit/ir/ir.c
src-jit += jit/ir/build.c
src-jit += jit/ir/build-flow.c
