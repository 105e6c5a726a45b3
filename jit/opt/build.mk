src-jit += jit/opt/options.c
src-jit += jit/opt/fold.c
src-jit += jit/opt/eval.c
src-jit += jit/opt/cse.c
src-jit += jit/opt/dce.c
