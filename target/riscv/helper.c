/*
 * Helpers: what generated code calls out to C for.
 *
 * This file, softfp and crypto are compiled without the host's floating-point registers: generated
 * code saves none of them around a call unless the helper says IR_H_FP (those are in
 * helper-host.c). All arguments and results are 64 bits wide in C; a narrower value has no promise
 * above its width.
 */
#include <fenv.h>
#include "target/riscv/helper.h"
#include <string.h>
#include "mem/guest.h"
#include "target/riscv/cpu.h"
#include "target/riscv/crypto.h"
#include "target/riscv/helper-host.h"
#include "target/riscv/helper-priv.h"
#include "target/riscv/softfp.h"

/* How each format travels: in its bits, or boxed in a register's 64. */
static uint32_t get_s(uint64_t x)
{
    return (uint32_t)x;
}

static uint64_t put_s(uint32_t x)
{
    return x;
}

static uint64_t get_d(uint64_t x)
{
    return x;
}

static uint64_t put_d(uint64_t x)
{
    return x;
}

static uint16_t get_h(uint64_t x)
{
    return x >> 16 == UINT64_C(0xffffffffffff) ? (uint16_t)x : RVFP_NAN_F16;
}

static uint64_t put_h(uint16_t x)
{
    return UINT64_C(0xffffffffffff0000) | x;
}

/* Runs rvfp_##call with flags collected into the vCPU. */
#define WITH_FLAGS(cpu, result, call) \
    do {                              \
        uint8_t flags = 0;            \
        result = call;                \
        (cpu)->fflags |= flags;       \
    } while (0)

/* The rm field, resolved; translated code has made sure that frm is valid. */
#define RM ((enum rv_rm)((rm & 7) == 7 ? cpu->frm : (rm & 7)))

#define TWO(id, p, T, op)                                                                 \
    static uint64_t id##_##p(struct riscv_cpu *cpu, uint64_t a, uint64_t b, uint64_t rm)  \
    {                                                                                     \
        uint64_t r;                                                                       \
        WITH_FLAGS(cpu, r, put_##p(rvfp_##op##_##T(get_##p(a), get_##p(b), RM, &flags))); \
        return r;                                                                         \
    }
#define TWO_EXACT(id, p, T, op, put)                                              \
    static uint64_t id##_##p(struct riscv_cpu *cpu, uint64_t a, uint64_t b)       \
    {                                                                             \
        uint64_t r;                                                               \
        WITH_FLAGS(cpu, r, put(rvfp_##op##_##T(get_##p(a), get_##p(b), &flags))); \
        return r;                                                                 \
    }
#define ONE(id, p, T, op)                                                     \
    static uint64_t id##_##p(struct riscv_cpu *cpu, uint64_t a, uint64_t rm)  \
    {                                                                         \
        uint64_t r;                                                           \
        WITH_FLAGS(cpu, r, put_##p(rvfp_##op##_##T(get_##p(a), RM, &flags))); \
        return r;                                                             \
    }
#define TO_INT(id, p, T, op)                                                 \
    static uint64_t id##_##p(struct riscv_cpu *cpu, uint64_t a, uint64_t rm) \
    {                                                                        \
        uint64_t r;                                                          \
        WITH_FLAGS(cpu, r, rvfp_##op##_##T(get_##p(a), RM, &flags));         \
        return r;                                                            \
    }
#define FROM_INT(id, p, T, op)                                               \
    static uint64_t id##_##p(struct riscv_cpu *cpu, uint64_t a, uint64_t rm) \
    {                                                                        \
        uint64_t r;                                                          \
        WITH_FLAGS(cpu, r, put_##p(rvfp_##op##_##T(a, RM, &flags)));         \
        return r;                                                            \
    }

#define FORMAT(p, T)                                                                            \
    TWO(fadd, p, T, add)                                                                        \
    TWO(fsub, p, T, sub)                                                                        \
    TWO(fmul, p, T, mul)                                                                        \
    TWO(fdiv, p, T, div)                                                                        \
    ONE(fsqrt, p, T, sqrt)                                                                      \
    TWO_EXACT(fmin, p, T, min, put_##p)                                                         \
    TWO_EXACT(fmax, p, T, max, put_##p)                                                         \
    TWO_EXACT(fminm, p, T, minm, put_##p)                                                       \
    TWO_EXACT(fmaxm, p, T, maxm, put_##p)                                                       \
    TWO_EXACT(feq, p, T, eq, )                                                                  \
    TWO_EXACT(flt, p, T, lt, )                                                                  \
    TWO_EXACT(fle, p, T, le, )                                                                  \
    TWO_EXACT(fltq, p, T, ltq, )                                                                \
    TWO_EXACT(fleq, p, T, leq, )                                                                \
    TO_INT(to_w, p, T, to_i32)                                                                  \
    TO_INT(to_wu, p, T, to_u32)                                                                 \
    TO_INT(to_l, p, T, to_i64)                                                                  \
    TO_INT(to_lu, p, T, to_u64)                                                                 \
    FROM_INT(from_w, p, T, from_i32)                                                            \
    FROM_INT(from_wu, p, T, from_u32)                                                           \
    FROM_INT(from_l, p, T, from_i64)                                                            \
    FROM_INT(from_lu, p, T, from_u64)                                                           \
    ONE(fround, p, T, round)                                                                    \
    ONE(froundnx, p, T, roundnx)                                                                \
    static uint64_t fclass_##p(uint64_t a)                                                      \
    {                                                                                           \
        return rvfp_class_##T(get_##p(a));                                                      \
    }                                                                                           \
    static uint64_t fmadd_##p(struct riscv_cpu *cpu, uint64_t a, uint64_t b, uint64_t c,        \
                              uint64_t rm)                                                      \
    {                                                                                           \
        uint64_t r;                                                                             \
        WITH_FLAGS(cpu, r,                                                                      \
                   put_##p(rvfp_muladd_##T(get_##p(a), get_##p(b), get_##p(c), RM, &flags)));   \
        return r;                                                                               \
    }                                                                                           \
    /* A product of infinity and zero is invalid; the sum with a NaN would hide it. */          \
    static uint64_t fma_invalid_##p(struct riscv_cpu *cpu, uint64_t a, uint64_t b)              \
    {                                                                                           \
        unsigned classes = (unsigned)(rvfp_class_##T(get_##p(a)) | rvfp_class_##T(get_##p(b))); \
        if ((classes & 0x81) && (classes & 0x18)) {                                             \
            cpu->fflags |= RVFP_NV;                                                             \
        }                                                                                       \
        return 0;                                                                               \
    }

FORMAT(s, f32)
FORMAT(d, f64)
FORMAT(h, f16)

static uint64_t rv_helper_fcvtmod(struct riscv_cpu *cpu, uint64_t a)
{
    uint64_t r;

    WITH_FLAGS(cpu, r, rvfp_tomod_i32_f64(a, &flags));
    return r;
}

/* BF16 has NaN 0x7fc0 where the box is bad. */
static uint16_t get_bf16(uint64_t x)
{
    return x >> 16 == UINT64_C(0xffffffffffff) ? (uint16_t)x : RVFP_NAN_BF16;
}

#define put_bf16 put_h

#define CONVERT(to, from, TO, FROM)                                                              \
    static uint64_t rv_helper_fcvt_##to##_##from(struct riscv_cpu *cpu, uint64_t a, uint64_t rm) \
    {                                                                                            \
        uint64_t r;                                                                              \
        WITH_FLAGS(cpu, r, put_##to(rvfp_cvt_##TO##_##FROM(get_##from(a), RM, &flags)));         \
        return r;                                                                                \
    }
CONVERT(s, d, f32, f64)
CONVERT(d, s, f64, f32)
CONVERT(s, h, f32, f16)
CONVERT(h, s, f16, f32)
CONVERT(d, h, f64, f16)
CONVERT(h, d, f16, f64)
CONVERT(s, bf16, f32, bf16)
CONVERT(bf16, s, bf16, f32)

static uint64_t rv_helper_fsgnj_h(uint64_t a, uint64_t b)
{
    return put_h((uint16_t)((get_h(a) & 0x7fff) | (get_h(b) & 0x8000)));
}

static uint64_t rv_helper_fsgnjn_h(uint64_t a, uint64_t b)
{
    return put_h((uint16_t)((get_h(a) & 0x7fff) | (~get_h(b) & 0x8000)));
}

static uint64_t rv_helper_fsgnjx_h(uint64_t a, uint64_t b)
{
    return put_h((uint16_t)(get_h(a) ^ (get_h(b) & 0x8000)));
}

/*
 * The counters (docs/user-mode.md says this to users):
 *   time     CLOCK_MONOTONIC in ticks of 100 ns, a rate that real boards have; the frequency is
 * nowhere visible to user programs on Linux but in the device tree, so any will do cycle    the
 * host's time-stamp counter instret  the same: units do not count instructions, and programs only
 * ask that it grows
 *
 * cas128: if the 16 aligned bytes at addr are expected[], they become desired[]; expected[] gets
 * what was there.
 */
#if defined(__x86_64__)
static uint64_t rv_helper_rdcycle(void)
{
    return __builtin_ia32_rdtsc();
}

static void cas128(void *addr, uint64_t expected[2], const uint64_t desired[2])
{
    __asm__ volatile("lock cmpxchg16b (%2)"
                     : "+a"(expected[0]), "+d"(expected[1])
                     : "r"(addr), "b"(desired[0]), "c"(desired[1])
                     : "memory", "cc");
}
#else
static uint64_t rv_helper_rdcycle(void)
{
    return rv_helper_rdtime();
}

static void cas128(void *addr, uint64_t expected[2], const uint64_t desired[2])
{
    unsigned __int128 want = (unsigned __int128)expected[1] << 64 | expected[0];
    unsigned __int128 next = (unsigned __int128)desired[1] << 64 | desired[0];

    __atomic_compare_exchange_n((unsigned __int128 *)addr, &want, next, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    expected[0] = (uint64_t)want;
    expected[1] = (uint64_t)(want >> 64);
}
#endif

/* 128-bit compare-and-swap on aligned guest memory. A pair that starts with x0 reads as zero, and
 * is not written (Zacas). */
static void rv_helper_amocas_q(struct riscv_cpu *cpu, uint64_t addr, uint64_t rd, uint64_t rs2)
{
    uint64_t old[2], desired[2] = {0, 0};
    unsigned d = rd & 31, s = rs2 & 31;
    void *at;

    old[0] = d ? cpu->x[d] : 0;
    old[1] = d ? cpu->x[d + 1] : 0;
    if (s) {
        desired[0] = cpu->x[s];
        desired[1] = cpu->x[s + 1];
    }
    at = cpu->system ? cpu_memory->host(&cpu->common, addr, 16, CPU_ACCESS_STORE)
                     : mem_guest_host(addr);
    cas128(at, old, desired);
    if (d) {
        cpu->x[d] = old[0];
        cpu->x[d + 1] = old[1];
    }
}

#if defined(__x86_64__)
/* By instruction: a function built without floating-point registers may not call the intrinsic. */
static uint64_t rv_helper_fflags_restore(uint64_t flags)
{
    uint32_t mxcsr;

    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    mxcsr = (mxcsr & ~0x3fu) | (flags >> 4 & 1) | (flags >> 3 & 1) << 2 | (flags >> 2 & 1) << 3 |
            (flags >> 1 & 1) << 4 | (flags & 1) << 5;
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    return 0;
}
#else
static uint64_t rv_helper_fflags_restore(uint64_t flags)
{
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept((flags & 16 ? FE_INVALID : 0) | (flags & 8 ? FE_DIVBYZERO : 0) |
                  (flags & 4 ? FE_OVERFLOW : 0) | (flags & 2 ? FE_UNDERFLOW : 0) |
                  (flags & 1 ? FE_INEXACT : 0));
    return 0;
}
#endif

/* Types as HELPER3 names them, in each format. */
#define TYPE_s_FP  IR_F32
#define TYPE_d_FP  IR_F64
#define TYPE_h_FP  IR_I64
#define TYPE_s_I64 IR_I64
#define TYPE_d_I64 IR_I64
#define TYPE_h_I64 IR_I64
#define TYPE_s_I32 IR_I32
#define TYPE_d_I32 IR_I32
#define TYPE_h_I32 IR_I32
#define TYPE_s_NO  IR_VOID
#define TYPE_d_NO  IR_VOID
#define TYPE_h_NO  IR_VOID

#define ROW3(p, id, result, effects, n, a, b, c, d) \
    {#id "_" #p,                                    \
     (void *)id##_##p,                              \
     TYPE_##p##_##result,                           \
     n,                                             \
     effects,                                       \
     {TYPE_##p##_##a, TYPE_##p##_##b, TYPE_##p##_##c, TYPE_##p##_##d}},

const struct ir_helper rv_helpers[RV_HELPER_COUNT] = {
#define HELPER(id, fn, result, effects, n, ...) \
    {#id, (void *)fn, result, n, effects, {__VA_ARGS__}},
#define HELPER3(...) ROW3(s, __VA_ARGS__) ROW3(d, __VA_ARGS__) ROW3(h, __VA_ARGS__)
#include "target/riscv/helpers.def"
};
