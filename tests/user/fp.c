/*
 * The floating-point environment as a program sees it: fflags and frm by their instructions,
 * rounding modes, NaNs and NaN boxing, conversions that saturate, and that signals and threads
 * keep it.
 *
 * Operations are assembly on volatile values: the compiler does not know of the environment.
 */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

#include "tests/user/tap.h"

enum { NX = 1, UF = 2, OF = 4, DZ = 8, NV = 16 };
enum { RNE, RTZ, RDN, RUP, RMM, DYN = 7 };

#define QNAN64 0x7ff8000000000000u
#define QNAN32 0xffffffff7fc00000u /* boxed */
#define INF64  0x7ff0000000000000u

static uint64_t flags(void)
{
    uint64_t f;

    __asm__ volatile("fsflags %0, zero" : "=r"(f));
    return f;
}

/* op(a, b) on register images; leaves the flags in last_flags. */
static uint64_t last_flags;
#define BINARY(op, a, b)                                                         \
    __extension__({                                                              \
        uint64_t r_;                                                             \
        __asm__ volatile("fsflags zero\n fmv.d.x ft0, %1\n fmv.d.x ft1, %2\n" op \
                         "\n fmv.x.d %0, ft2"                                    \
                         : "=r"(r_)                                              \
                         : "r"((uint64_t)(a)), "r"((uint64_t)(b))                \
                         : "ft0", "ft1", "ft2");                                 \
        last_flags = flags();                                                    \
        r_;                                                                      \
    })
#define TO_INT(op, a)                                           \
    __extension__({                                             \
        uint64_t r_;                                            \
        __asm__ volatile("fsflags zero\n fmv.d.x ft0, %1\n " op \
                         : "=r"(r_)                             \
                         : "r"((uint64_t)(a))                   \
                         : "ft0");                              \
        last_flags = flags();                                   \
        r_;                                                     \
    })

static uint64_t bits(double d)
{
    uint64_t u;

    memcpy(&u, &d, 8);
    return u;
}

static uint64_t box(float f)
{
    uint32_t u;

    memcpy(&u, &f, 4);
    return 0xffffffff00000000u | u;
}

#define check(value, want, want_flags, ...)                                                   \
    do {                                                                                      \
        uint64_t v_ = (value), w_ = (want);                                                   \
                                                                                              \
        if (!ok(v_ == w_ && last_flags == (want_flags), __VA_ARGS__))                         \
            note("got 0x%llx flags 0x%x, expected 0x%llx flags 0x%x", (unsigned long long)v_, \
                 (unsigned)last_flags, (unsigned long long)w_, (unsigned)(want_flags));       \
    } while (0)

static void test_registers(void)
{
    uint64_t a, b, c;

    __asm__ volatile("li t0, 0xff\n fscsr t0\n frcsr %0\n frrm %1\n frflags %2"
                     : "=r"(a), "=r"(b), "=r"(c)
                     :
                     : "t0");
    ok(a == 0xff && b == 7 && c == 0x1f, "fcsr holds eight bits, frm and fflags are its parts");
    __asm__ volatile("fsrmi %0, 3\n fsflagsi %1, 5\n frcsr %2" : "=r"(a), "=r"(b), "=r"(c));
    ok(a == 7 && b == 0x1f && c == 0x65, "fsrmi and fsflagsi return what was there");
    __asm__ volatile("csrrc %0, fflags, %2\n csrrs zero, frm, %2\n frcsr %1"
                     : "=r"(a), "=r"(c)
                     : "r"(4l));
    ok(a == 5 && c == 0xe1, "csrrc and csrrs on the parts");
    __asm__ volatile("li t0, -1\n csrw fcsr, t0\n csrr %0, fcsr\n fscsr zero" : "=r"(a) : : "t0");
    is(a, 0xff, "the other bits of fcsr read as zero");
}

static void test_flags(void)
{
    check(BINARY("fadd.d ft2, ft0, ft1", bits(1), bits(2)), bits(3), 0, "exact: no flag");
    check(BINARY("fadd.d ft2, ft0, ft1", bits(1), bits(0x1p-60)), bits(1), NX, "inexact");
    check(BINARY("fdiv.d ft2, ft0, ft1", bits(1), bits(0)), INF64, DZ, "1/0");
    check(BINARY("fdiv.d ft2, ft0, ft1", bits(0), bits(0)), QNAN64, NV, "0/0");
    check(BINARY("fmul.d ft2, ft0, ft1", bits(1e300), bits(1e300)), INF64, OF | NX, "overflow");
    check(BINARY("fmul.d ft2, ft0, ft1", bits(1e-300), bits(1e-300)), 0, UF | NX, "underflow");
    check(BINARY("fmul.d ft2, ft0, ft1", bits(0x1p-1022), bits(0.5)), bits(0x1p-1023), 0,
          "an exact subnormal does not underflow");
    /* 1 - 2^-56 times the least normal number rounds up to it, with any range of exponents. */
    check(BINARY("fmul.d ft2, ft0, ft1", bits(1 - 0x1p-28), bits(0x1p-1022 + 0x1p-1050)),
          0x0010000000000000, NX, "tininess is detected after rounding");
    /* 1 - 2^-53 times it would fit 53 bits below it: tiny. */
    check(BINARY("fmul.d ft2, ft0, ft1", 0x3fefffffffffffff, 0x0010000000000000),
          0x0010000000000000, UF | NX, "tiny, though the result is not subnormal");
    check(BINARY("fsqrt.d ft2, ft0", bits(-1), 0), QNAN64, NV, "sqrt(-1)");
    check(BINARY("fadd.d ft2, ft0, ft1", INF64, INF64 | 1ull << 63), QNAN64, NV, "inf - inf");
    check(BINARY("fadd.d ft2, ft0, ft1", 0x7ff8dead0000beef, bits(1)), QNAN64, 0,
          "a quiet NaN's payload is not propagated");
    check(BINARY("fadd.d ft2, ft0, ft1", 0x7ff0000000000001, bits(1)), QNAN64, NV,
          "signalling NaN");
    check(BINARY("fadd.d ft2, ft0, ft1", 0xfff8000000000001, bits(1)), QNAN64, 0,
          "the canonical NaN is positive");
    check(BINARY("fmin.d ft2, ft0, ft1", QNAN64, bits(2)), bits(2), 0, "fmin of a NaN: the other");
    check(BINARY("fmax.d ft2, ft0, ft1", 0x7ff0000000000001, bits(2)), bits(2), NV,
          "fmax of a signalling NaN");
    check(BINARY("fmax.d ft2, ft0, ft1", 0xfff8000000000009, QNAN64 + 5), QNAN64, 0,
          "fmax of two NaNs is canonical");
    check(BINARY("fmin.d ft2, ft0, ft1", bits(0.0), bits(-0.0)), bits(-0.0), 0, "fmin: -0 < +0");
    check(BINARY("fmax.d ft2, ft0, ft1", bits(-0.0), bits(0.0)), 0, 0, "fmax: +0 > -0");
    check(TO_INT("feq.d %0, ft0, ft0", QNAN64), 0, 0, "feq is quiet");
    check(TO_INT("flt.d %0, ft0, ft0", QNAN64), 0, NV, "flt signals");
    check(TO_INT("feq.d %0, ft0, ft0", 0x7ff0000000000001), 0, NV, "feq of a signalling NaN");
    check(BINARY("fmv.d.x ft3, zero\n fmadd.d ft2, ft0, ft3, ft1", INF64, QNAN64), QNAN64, NV,
          "inf * 0 + quiet NaN is invalid");
    check(BINARY("fnmadd.d ft2, ft0, ft1, ft0", bits(2), bits(3)), bits(-8), 0, "fnmadd");
    check(BINARY("fnmsub.d ft2, ft0, ft1, ft0", bits(2), bits(3)), bits(-4), 0, "fnmsub");
    __asm__ volatile("fsflagsi 0");
    BINARY("fdiv.d ft2, ft0, ft1\n fadd.d ft2, ft0, ft0", bits(1), bits(0));
    is(last_flags, DZ, "flags are sticky");
    check(TO_INT("fclass.d %0, ft0", 0x7ff0000000000001), 1 << 8, 0, "fclass: signalling NaN");
    check(TO_INT("fclass.d %0, ft0", 0x8000000000000001), 1 << 2, 0, "fclass: subnormal");
}

static uint64_t third(int mode, double sign)
{
    uint64_t r;

    __asm__ volatile("fsrm %0" : : "r"((long)mode));
    r = BINARY("fdiv.d ft2, ft0, ft1", bits(sign), bits(3));
    __asm__ volatile("fsrmi 0");
    return r;
}

static void test_rounding(void)
{
    const uint64_t down = 0x3fd5555555555555, up = down + 1, sign = 1ull << 63;

    is(third(RNE, 1), down, "1/3 to nearest");
    is(third(RTZ, 1), down, "toward zero");
    is(third(RDN, 1), down, "down");
    is(third(RUP, 1), up, "up");
    is(third(RDN, -1), up | sign, "-1/3 down");
    is(third(RUP, -1), down | sign, "-1/3 up");
    is(third(RMM, 1), down, "to nearest, ties to maximum magnitude");
    __asm__ volatile("fsrmi 3"); /* the dynamic mode must not disturb a static one */
    check(BINARY("fadd.d ft2, ft0, ft1, rtz", bits(1), bits(0x1p-53)), bits(1), NX, "static rtz");
    check(BINARY("fadd.d ft2, ft0, ft1, rdn", bits(-1), bits(-0x1p-80)), bits(-1) + 1, NX,
          "static rdn");
    check(BINARY("fadd.d ft2, ft0, ft1", bits(1), bits(0x1p-80)), bits(1) + 1, NX, "dynamic rup");
    __asm__ volatile("fsrmi 0");
    check(BINARY("fadd.d ft2, ft0, ft1, rne", bits(1), bits(0x1p-53)), bits(1), NX, "a tie, rne");
    check(BINARY("fadd.d ft2, ft0, ft1, rmm", bits(1), bits(0x1p-53)), bits(1) + 1, NX,
          "a tie, rmm");
    check(BINARY("fadd.d ft2, ft0, ft1, rdn", bits(1), bits(-1)), bits(-0.0), 0,
          "1 - 1 is -0 when rounding down");
    check(BINARY("fcvt.s.d ft2, ft0, rup", bits(0.1), 0), box(0.1f), NX, "fcvt.s.d up");
    check(BINARY("fcvt.s.d ft2, ft0, rtz", bits(1e300), 0), box(0x1.fffffep127f), OF | NX,
          "overflow toward zero gives the greatest number");
}

static void test_boxing(void)
{
    uint64_t x = 0;

    check(BINARY("fadd.s ft2, ft0, ft1", box(1), box(2)), box(3), 0, "single results are boxed");
    check(BINARY("fadd.s ft2, ft0, ft1", 0x3f800000, box(2)), QNAN32, 0,
          "an operand that is not boxed is a quiet NaN");
    check(BINARY("fsgnj.s ft2, ft0, ft0", 0x123456783f800000, 0), QNAN32, 0, "fsgnj.s of the same");
    check(BINARY("fsgnjn.s ft2, ft0, ft1", box(1), 0), box(-1), 0,
          "the sign of what is not boxed is the canonical NaN's");
    check(BINARY("fsgnjx.d ft2, ft0, ft1", 0xfff8000000001234, bits(-1)), 0x7ff8000000001234, 0,
          "sign injection keeps a NaN's payload");
    check(TO_INT("fmv.x.w %0, ft0", 0x12345678ffc00001), 0xffffffffffc00001, 0,
          "fmv.x.w takes the low half as it is, sign-extended");
    check(BINARY("fmv.w.x ft2, %1", 0x7f800001, 0), 0xffffffff7f800001, 0,
          "fmv.w.x boxes and keeps a signalling NaN");
    __asm__ volatile("flw ft0, 0(%1)\n fsd ft0, 0(%2)\n ld %0, 0(%2)"
                     : "=r"(x)
                     : "r"(&(uint32_t){0x7fa00001}), "r"(&(uint64_t){0})
                     : "ft0", "memory");
    is(x, 0xffffffff7fa00001, "flw boxes, fsd shows it");
    __asm__ volatile("fmv.d.x ft0, %2\n fsw ft0, 0(%1)\n lwu %0, 0(%1)"
                     : "=&r"(x)
                     : "r"(&(uint64_t){0}), "r"(0x1122334455667788)
                     : "ft0", "memory");
    is(x, 0x55667788, "fsw stores the low half whether boxed or not");
    check(BINARY("fcvt.d.s ft2, ft0", 0x0000000040000000, 0), QNAN64, 0, "fcvt.d.s of an unboxed");
    check(BINARY("fcvt.d.s ft2, ft0", 0xffffffff7f800001, 0), QNAN64, NV,
          "and of a signalling NaN");
    check(TO_INT("fclass.s %0, ft0", 0x3f800000), 1 << 9, 0, "fclass.s of an unboxed: quiet NaN");
}

static void test_conversions(void)
{
    check(TO_INT("fcvt.w.d %0, ft0, rtz", bits(-1.9)), (uint64_t)-1, NX, "fcvt.w.d -1.9");
    check(TO_INT("fcvt.w.d %0, ft0, rtz", bits(3e9)), INT32_MAX, NV, "fcvt.w.d saturates");
    check(TO_INT("fcvt.w.d %0, ft0, rtz", bits(-3e9)), (uint64_t)INT32_MIN, NV, "and below");
    check(TO_INT("fcvt.w.d %0, ft0, rtz", QNAN64), INT32_MAX, NV, "of a NaN: the maximum");
    check(TO_INT("fcvt.wu.d %0, ft0, rtz", bits(-0.5)), 0, NX, "fcvt.wu.d -0.5 is 0, inexact");
    check(TO_INT("fcvt.wu.d %0, ft0, rtz", bits(-1)), 0, NV, "fcvt.wu.d -1 is invalid");
    check(TO_INT("fcvt.wu.d %0, ft0, rtz", bits(4294967295.0)), UINT64_MAX, 0,
          "fcvt.wu.d sign-extends its 32 bits");
    check(TO_INT("fcvt.l.d %0, ft0, rtz", bits(9.3e18)), INT64_MAX, NV, "fcvt.l.d saturates");
    check(TO_INT("fcvt.l.d %0, ft0, rtz", bits(-0x1p63)), (uint64_t)INT64_MIN, 0, "-2^63 fits");
    check(TO_INT("fcvt.lu.d %0, ft0, rtz", bits(0x1.8p63)), 0xc000000000000000, 0, "1.5 * 2^63");
    check(TO_INT("fcvt.lu.d %0, ft0, rtz", bits(0x1p64)), UINT64_MAX, NV, "2^64 saturates");
    check(TO_INT("fcvt.lu.s %0, ft0, rtz", box(NAN)), UINT64_MAX, NV, "fcvt.lu.s of a NaN");
    check(TO_INT("fcvt.l.d %0, ft0, rmm", bits(2.5)), 3, NX, "2.5 to nearest, ties away");
    check(TO_INT("fcvt.l.d %0, ft0, rne", bits(2.5)), 2, NX, "2.5 to nearest, ties to even");
    check(TO_INT("fcvt.w.s %0, ft0, rup", box(-0.5f)), 0, NX, "-0.5 up");
    check(BINARY("fcvt.s.l ft2, %1, rup", (1l << 60) + 1, 0), box(0x1.000002p60f), NX, "fcvt.s.l");
    check(BINARY("fcvt.d.lu ft2, %1", UINT64_MAX, 0), bits(0x1p64), NX, "fcvt.d.lu of 2^64 - 1");
}

/* ---- signals and threads ---- */

static volatile uint64_t handler_fcsr;

static void disturb(int sig, siginfo_t *info, void *context)
{
    __asm__ volatile("frcsr %0\n li t0, 0x1f\n fscsr t0\n fmv.d.x fs2, zero\n fmv.d.x ft11, zero"
                     : "=r"(*(uint64_t *)&handler_fcsr)
                     :
                     : "t0", "fs2", "ft11");
}

static void test_signals(void)
{
    struct sigaction sa = {.sa_sigaction = disturb, .sa_flags = SA_SIGINFO};
    uint64_t fcsr, fs2, ft11;

    sigaction(SIGUSR1, &sa, NULL);
    __asm__ volatile("li t0, 0x48\n fscsr t0\n li t0, 0x4008000000000000\n"
                     "fmv.d.x fs2, t0\n fmv.d.x ft11, t0\n"
                     "li a7, 172\n ecall\n li a1, %4\n li a7, 129\n ecall\n" /* getpid, kill */
                     "frcsr %0\n fmv.x.d %1, fs2\n fmv.x.d %2, ft11\n fscsr zero"
                     : "=&r"(fcsr), "=&r"(fs2), "=&r"(ft11), "=m"(handler_fcsr)
                     : "i"(SIGUSR1)
                     : "t0", "a0", "a1", "a7", "fs2", "ft11", "memory");
    is(handler_fcsr, 0x48, "a handler starts with the interrupted fcsr");
    is(fcsr, 0x48, "and cannot change ours");
    ok(fs2 == 0x4008000000000000 && ft11 == fs2, "nor our registers");
}

static void *thread_mode(void *arg)
{
    uint64_t bad = 0, mode = (uint64_t)arg, now;

    __asm__ volatile("fsrm %0" : : "r"(mode));
    for (int i = 0; i < 3000; i++) {
        static const uint64_t want[] = {0x3fd5555555555555, 0x3fd5555555555555, 0x3fd5555555555555,
                                        0x3fd5555555555556};
        uint64_t r;

        __asm__ volatile(
            "fmv.d.x ft0, %1\n fmv.d.x ft1, %2\n fdiv.d ft2, ft0, ft1\n fmv.x.d %0, ft2"
            : "=r"(r)
            : "r"(bits(1)), "r"(bits(3))
            : "ft0", "ft1", "ft2");
        __asm__ volatile("frrm %0" : "=r"(now));
        bad += r != want[mode] || now != mode;
        if (i % 100 == 0)
            sched_yield();
    }
    return (void *)bad;
}

static void test_threads(void)
{
    pthread_t threads[4];
    uint64_t bad = 0;

    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, thread_mode, (void *)i);
    for (int i = 0; i < 4; i++) {
        void *value;

        pthread_join(threads[i], &value);
        bad += (uint64_t)value;
    }
    is(bad, 0, "four threads, each with a rounding mode of its own");
}

int main(void)
{
    test_registers();
    test_flags();
    test_rounding();
    test_boxing();
    test_conversions();
    test_signals();
    test_threads();
    return tap_done();
}
