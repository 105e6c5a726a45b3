src-jit += jit/ir/ir.c
src-jit += jit/ir/build.c
src-jit += jit/ir/build-flow.c
src-jit += jit/ir/text.c
src-jit += jit/ir/text-parse.c
src-jit += jit/ir/verify.c
src-jit += jit/ir/verify-flow.c
