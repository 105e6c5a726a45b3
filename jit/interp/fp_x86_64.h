/*
 * Floating point of the interpreter on an x86-64 host: one SSE instruction an op, on bits.
 *
 * Everything is volatile asm, for the compiler knows nothing of MXCSR: it may not evaluate, merge,
 * drop or move these across each other, and volatile asm statements stay in order.
 *
 * Values travel as bits in integers, so that nothing but these instructions ever touches a
 * signaling NaN. A 32-bit value is in the low half of its word; the upper half of what is passed
 * in is ignored.
 */
#ifndef TINAMOU_JIT_INTERP_FP_X86_64_H
#define TINAMOU_JIT_INTERP_FP_X86_64_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "util/hostcpu.h"
#include "jit/ir/ir.h"

#define INTERP_F32_QNAN UINT32_C(0x7fc00000)
#define INTERP_F64_QNAN UINT64_C(0x7ff8000000000000)

static inline float interp_f32(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float f;

    memcpy(&f, &low, sizeof(f));
    return f;
}

static inline double interp_f64(uint64_t bits)
{
    double d;

    memcpy(&d, &bits, sizeof(d));
    return d;
}

static inline uint64_t interp_bits32(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof(bits));
    return bits;
}

static inline uint64_t interp_bits64(double d)
{
    uint64_t bits;

    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

static inline bool interp_isnan32(uint64_t bits)
{
    return ((uint32_t)bits & 0x7fffffff) > 0x7f800000;
}

static inline bool interp_isnan64(uint64_t bits)
{
    return (bits & INT64_MAX) > UINT64_C(0x7ff0000000000000);
}

/* ---- the environment --------------------------------------------------------------------- */

static inline uint32_t interp_mxcsr(void)
{
    uint32_t mxcsr;

    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    return mxcsr;
}

static inline void interp_set_mxcsr(uint32_t mxcsr)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}

/* IE ZE OE UE PE are bits 0 2 3 4 5 of MXCSR; bit 1, denormal operand, is not of IEEE 754. */
static inline uint32_t interp_fflags_get(void)
{
    uint32_t m = interp_mxcsr();

    return (m & 1) << 4 | (m >> 2 & 1) << 3 | (m >> 3 & 1) << 2 | (m >> 4 & 1) << 1 | (m >> 5 & 1);
}

static inline void interp_fflags_set(uint32_t flags)
{
    uint32_t m = interp_mxcsr() & ~UINT32_C(0x3f);

    m |= (flags >> 4 & 1) | (flags >> 3 & 1) << 2 | (flags >> 2 & 1) << 3 | (flags >> 1 & 1) << 4 |
         (flags & 1) << 5;
    interp_set_mxcsr(m);
}

/* MXCSR's rounding control: 0 nearest even, 1 down, 2 up, 3 towards zero. */
static inline void interp_frm_set(uint32_t rm)
{
    static const uint8_t control[4] = {0, 3, 1, 2};

    interp_set_mxcsr((interp_mxcsr() & ~UINT32_C(0x6000)) | (uint32_t)control[rm & 3] << 13);
}

/* ---- arithmetic -------------------------------------------------------------------------- */

#define INTERP_FP_BINARY(name)                                              \
    static inline uint64_t interp_f##name##32(uint64_t a, uint64_t b)       \
    {                                                                       \
        float x = interp_f32(a);                                            \
        __asm__ volatile(#name "ss %1, %0" : "+x"(x) : "x"(interp_f32(b))); \
        return interp_bits32(x);                                            \
    }                                                                       \
    static inline uint64_t interp_f##name##64(uint64_t a, uint64_t b)       \
    {                                                                       \
        double x = interp_f64(a);                                           \
        __asm__ volatile(#name "sd %1, %0" : "+x"(x) : "x"(interp_f64(b))); \
        return interp_bits64(x);                                            \
    }
INTERP_FP_BINARY(add)
INTERP_FP_BINARY(sub)
INTERP_FP_BINARY(mul)
INTERP_FP_BINARY(div)
#undef INTERP_FP_BINARY

static inline uint64_t interp_fsqrt32(uint64_t a)
{
    float x;

    __asm__ volatile("sqrtss %1, %0" : "=x"(x) : "x"(interp_f32(a)));
    return interp_bits32(x);
}

static inline uint64_t interp_fsqrt64(uint64_t a)
{
    double x;

    __asm__ volatile("sqrtsd %1, %0" : "=x"(x) : "x"(interp_f64(a)));
    return interp_bits64(x);
}

/*
 * a*b + c where the host has no FMA. libm is exact and right about the flags of numbers; what NaNs
 * raise is settled here, as the FMA instruction does it: invalid for a signaling NaN, nothing for a
 * quiet one even if the product is infinity by zero.
 */
static inline uint64_t interp_fma_soft32(uint64_t a, uint64_t b, uint64_t c)
{
    volatile float r;

    if (interp_isnan32(a) || interp_isnan32(b) || interp_isnan32(c)) {
        uint64_t ab = interp_isnan32(a) || interp_isnan32(b) ? interp_fadd32(a, b) : c;
        return interp_fadd32(ab, c);
    }
    r = fmaf(interp_f32(a), interp_f32(b), interp_f32(c));
    return interp_bits32(r);
}

static inline uint64_t interp_fma_soft64(uint64_t a, uint64_t b, uint64_t c)
{
    volatile double r;

    if (interp_isnan64(a) || interp_isnan64(b) || interp_isnan64(c)) {
        uint64_t ab = interp_isnan64(a) || interp_isnan64(b) ? interp_fadd64(a, b) : c;
        return interp_fadd64(ab, c);
    }
    r = fma(interp_f64(a), interp_f64(b), interp_f64(c));
    return interp_bits64(r);
}

/* neg: enum of IR_FMA_NEG_*. */
static inline uint64_t interp_fma32(unsigned neg, uint64_t a, uint64_t b, uint64_t c)
{
    a ^= neg & IR_FMA_NEG_PRODUCT ? UINT32_C(1) << 31 : 0;
    c ^= neg & IR_FMA_NEG_ADDEND ? UINT32_C(1) << 31 : 0;
    if (HOST_CPU_HAS(FMA)) {
        float x = interp_f32(a);

        __asm__ volatile("vfmadd213ss %2, %1, %0"
                         : "+x"(x)
                         : "x"(interp_f32(b)), "x"(interp_f32(c)));
        return interp_bits32(x);
    }
    return interp_fma_soft32(a, b, c);
}

static inline uint64_t interp_fma64(unsigned neg, uint64_t a, uint64_t b, uint64_t c)
{
    a ^= neg & IR_FMA_NEG_PRODUCT ? UINT64_C(1) << 63 : 0;
    c ^= neg & IR_FMA_NEG_ADDEND ? UINT64_C(1) << 63 : 0;
    if (HOST_CPU_HAS(FMA)) {
        double x = interp_f64(a);

        __asm__ volatile("vfmadd213sd %2, %1, %0"
                         : "+x"(x)
                         : "x"(interp_f64(b)), "x"(interp_f64(c)));
        return interp_bits64(x);
    }
    return interp_fma_soft64(a, b, c);
}

/* ---- comparison: comis* raises invalid on any NaN, ucomis* on signaling ones only ---------- */

#define INTERP_FP_COMPARE(width, suffix, type)                                              \
    static inline bool interp_fcmp##width(enum ir_fcc cc, uint64_t a, uint64_t b)           \
    {                                                                                       \
        type x = interp_f##width(a), y = interp_f##width(b);                                \
        bool holds = false, ordered;                                                        \
                                                                                            \
        switch (cc) {                                                                       \
        case IR_FEQ:                                                                        \
            __asm__ volatile("ucomis" suffix " %3, %2"                                      \
                             : "=@cce"(holds), "=@ccnp"(ordered)                            \
                             : "x"(x), "x"(y));                                             \
            return holds && ordered;                                                        \
        case IR_FLT:                                                                        \
            __asm__ volatile("comis" suffix " %1, %2" : "=@cca"(holds) : "x"(x), "x"(y));   \
            break;                                                                          \
        case IR_FLE:                                                                        \
            __asm__ volatile("comis" suffix " %1, %2" : "=@ccae"(holds) : "x"(x), "x"(y));  \
            break;                                                                          \
        case IR_FLTQ:                                                                       \
            __asm__ volatile("ucomis" suffix " %1, %2" : "=@cca"(holds) : "x"(x), "x"(y));  \
            break;                                                                          \
        case IR_FLEQ:                                                                       \
            __asm__ volatile("ucomis" suffix " %1, %2" : "=@ccae"(holds) : "x"(x), "x"(y)); \
            break;                                                                          \
        case IR_FCC_COUNT:                                                                  \
            break;                                                                          \
        }                                                                                   \
        return holds;                                                                       \
    }
INTERP_FP_COMPARE(32, "s", float)
INTERP_FP_COMPARE(64, "d", double)
#undef INTERP_FP_COMPARE

/* ---- conversion -------------------------------------------------------------------------- */

static inline uint64_t interp_fpromote(uint64_t a)
{
    double x;

    __asm__ volatile("cvtss2sd %1, %0" : "=x"(x) : "x"(interp_f32(a)));
    return interp_bits64(x);
}

static inline uint64_t interp_fdemote(uint64_t a)
{
    float x;

    __asm__ volatile("cvtsd2ss %1, %0" : "=x"(x) : "x"(interp_f64(a)));
    return interp_bits32(x);
}

#define INTERP_FP_FROM_INT(iw, int_type, isuf, fw, fsuf, type)             \
    static inline uint64_t interp_i##iw##_to_f##fw(int_type a)             \
    {                                                                      \
        type x;                                                            \
        __asm__ volatile("cvtsi2" fsuf isuf " %1, %0" : "=x"(x) : "r"(a)); \
        return interp_bits##fw(x);                                         \
    }
INTERP_FP_FROM_INT(32, int32_t, "l", 32, "ss", float)
INTERP_FP_FROM_INT(32, int32_t, "l", 64, "sd", double)
INTERP_FP_FROM_INT(64, int64_t, "q", 32, "ss", float)
INTERP_FP_FROM_INT(64, int64_t, "q", 64, "sd", double)
#undef INTERP_FP_FROM_INT

/* The instruction gives the least integer and raises invalid where the value does not fit. */
#define INTERP_FP_TO_INT(iw, int_type, fw, fsuf)                                         \
    static inline int_type interp_f##fw##_to_i##iw(bool towards_zero, uint64_t a)        \
    {                                                                                    \
        int_type x;                                                                      \
        if (towards_zero) {                                                              \
            __asm__ volatile("cvtt" fsuf "2si %1, %0" : "=r"(x) : "x"(interp_f##fw(a))); \
        } else {                                                                         \
            __asm__ volatile("cvt" fsuf "2si %1, %0" : "=r"(x) : "x"(interp_f##fw(a)));  \
        }                                                                                \
        return x;                                                                        \
    }
INTERP_FP_TO_INT(32, int32_t, 32, "ss")
INTERP_FP_TO_INT(32, int32_t, 64, "sd")
INTERP_FP_TO_INT(64, int64_t, 32, "ss")
INTERP_FP_TO_INT(64, int64_t, 64, "sd")
#undef INTERP_FP_TO_INT

#endif
