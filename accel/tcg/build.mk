src-tcg += accel/tcg/tcg.c
src-tcg += accel/tcg/buffer.c
src-tcg += accel/tcg/cache.c
src-tcg += accel/tcg/translate.c
src-tcg += accel/tcg/fault.c
src-tcg += accel/tcg/interp.c
src-tcg += accel/tcg/explain.c
src-tcg += accel/tcg/options.c
