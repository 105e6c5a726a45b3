src-jit += jit/interp/interp.c
src-jit += jit/interp/call.c
