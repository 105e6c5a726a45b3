/* What the processor says of itself: CPUID, and MSRs. The command line has the model. */
#include "tests/kvm/irq.h"

static void leaf(uint32_t n, uint32_t sub)
{
    uint32_t r[4];

    cpuid(n, sub, r);
    if (n == 1) { /* the APIC's id, and what follows CR4.OSXSAVE */
        r[1] &= 0x00ffffff;
        r[2] &= ~(1u << 27);
    }
    say("%x.%x: %x %x %x %x\n", n, sub, r[0], r[1], r[2], r[3]);
}

static void basic(void)
{
    static const struct {
        uint32_t leaf, subs;
    } leaves[] = {{0, 1}, {1, 1}, {2, 1},   {4, 4},   {5, 1},
                  {6, 1}, {7, 2}, {0xa, 1}, {0xb, 2}, {0xd, 3}};
    uint32_t r[4];

    cpuid(0, 0, r);
    for (unsigned i = 0; i < sizeof(leaves) / sizeof(*leaves); i++) {
        for (uint32_t sub = 0; leaves[i].leaf <= r[0] && sub < leaves[i].subs; sub++) {
            leaf(leaves[i].leaf, sub);
        }
    }
}

static void extended(void)
{
    uint32_t r[4];

    cpuid(0x80000000, 0, r);
    say("extended up to %x\n", r[0]);
    for (uint32_t n = 0x80000001; n <= r[0] && n <= 0x80000008; n++) {
        leaf(n, 0);
    }
    for (uint32_t n = 0x8000000a; n <= r[0] && n <= 0x80000022; n++) {
        leaf(n, 0);
    }
}

static void hypervisor(void)
{
    leaf(0x40000000, 0);
    leaf(0x40000001, 0);
}

/* Beyond the last leaf: Intel's repeat the last basic one, AMD's are zero. */
static void beyond(void)
{
    leaf(0x3fffffff, 0);
    leaf(0x8fffffff, 0);
}

PIECE(read_msr, "mov %edi, %ecx\nrdmsr\nshl $32, %rdx\nor %rdx, %rax");
PIECE(write_msr, "mov %edi, %ecx\nrdmsr\nnot %eax\nnot %edx\nwrmsr");

static const struct {
    const char *name;
    uint32_t msr;
} there[] = {
    {"APIC_BASE", 0x1b},
    {"MTRR_CAP", 0xfe},
    {"SYSENTER_CS", 0x174},
    {"MCG_CAP", 0x179},
    {"MISC_ENABLE", 0x1a0},
    {"MTRR_PHYSBASE0", 0x200},
    {"PAT", 0x277},
    {"MTRR_DEF_TYPE", 0x2ff},
    {"EFER", 0xc0000080},
    {"STAR", 0xc0000081},
    {"FS_BASE", 0xc0000100},
    {"TSC_AUX", 0xc0000103},
    {"KVM_SYSTEM_TIME", 0x4b564d01},
};

static void msrs(void)
{
    for (unsigned i = 0; i < sizeof(there) / sizeof(*there); i++) {
        RUN(read_msr, there[i].msr, RING0);
        if (DONE(read_msr)) {
            say("%s: %lx\n", there[i].name, trap.rax);
        } else {
            SAY_TRAP(there[i].name, read_msr);
        }
    }
}

static void no_msrs(void)
{
    static const uint32_t absent[] = {0x40000118, 0x12345678, 0xdeadbeef, 0x2ffffff, 0xffffffff};

    for (unsigned i = 0; i < sizeof(absent) / sizeof(*absent); i++) {
        say("%x: ", absent[i]);
        RUN(read_msr, absent[i], RING0);
        EXPECT_TRAP("rdmsr", read_msr, 13, 0);
    }
    RUN(write_msr, 0x1b, RING0);
    EXPECT_TRAP("APIC_BASE, reserved bits", write_msr, 13, 0);
    RUN(write_msr, 0x277, RING0);
    EXPECT_TRAP("PAT, types that do not exist", write_msr, 13, 0);
    RUN(write_msr, 0xfe, RING0);
    EXPECT_TRAP("MTRR_CAP, which is read only", write_msr, 13, 0);
}

static void tsc(void)
{
    uint64_t before = rdtsc(), after, other;

    after = rdtsc();
    other = rdmsr(0x10);
    check("TSC goes on", after > before && other > after);
    wrmsr(0x10, 0);
    check("and can be set", rdtsc() < other);
}

const struct part parts[] = {
    {"basic", basic},   {"extended", extended}, {"hypervisor", hypervisor},
    {"beyond", beyond}, {"msrs", msrs},         {"no-msrs", no_msrs},
    {"tsc", tsc},       {NULL, NULL},
};
