/*
 * Registers of a vCPU through struct x86_cpu and the kernel, in every mode: each class is filled
 * with values of its own, stored and fetched again, and the guest itself looks at what it can look
 * at cheaply. Then the same in the middle of accesses to ports and to registers of a device.
 */
#include "target/x86/features.h"
#include "tests/unit/kvm-x86.h"

/* ---- what the guest sees ----------------------------------------------------------------------
 */

/* Stores its general registers to 0x20000, then what system registers it can read; ends with an
 * access to a port. */
#define SAVE64                                                                        \
    "mov %rax, 0x20000\n mov %rcx, 0x20008\n mov %rdx, 0x20010\n mov %rbx, 0x20018\n" \
    "mov %rsp, 0x20020\n mov %rbp, 0x20028\n mov %rsi, 0x20030\n mov %rdi, 0x20038\n" \
    "mov %r8, 0x20040\n mov %r9, 0x20048\n mov %r10, 0x20050\n mov %r11, 0x20058\n"   \
    "mov %r12, 0x20060\n mov %r13, 0x20068\n mov %r14, 0x20070\n mov %r15, 0x20078\n"

BENCH_GUEST(guest_64, 64,
            SAVE64 "out %al, $0x80\n"
                   "pushf\n pop %rax\n mov %rax, 0x20080\n"
                   "mov %cr0, %rax\n mov %rax, 0x20088\n"
                   "mov %cr2, %rax\n mov %rax, 0x20090\n"
                   "mov %cr3, %rax\n mov %rax, 0x20098\n"
                   "mov %cr4, %rax\n mov %rax, 0x200a0\n"
                   "mov %cr8, %rax\n mov %rax, 0x200a8\n"
                   "mov %fs, %eax\n mov %rax, 0x200b0\n"
                   "mov %fs:0x10, %rax\n mov %rax, 0x200b8\n"
                   "mov %gs:0x10, %rax\n mov %rax, 0x200c0\n"
                   "mov $0xc0000081, %ecx\n rdmsr\n mov %eax, 0x200c8\n mov %edx, 0x200cc\n"
                   "mov $0xc0000102, %ecx\n rdmsr\n mov %eax, 0x200d0\n mov %edx, 0x200d4\n"
                   "mov $0x175, %ecx\n rdmsr\n mov %eax, 0x200d8\n mov %edx, 0x200dc\n"
                   "sgdt 0x200e0\n"
                   "mov %dr1, %rax\n mov %rax, 0x200f0\n"
                   "out %al, $0x80");
BENCH_GUEST(guest_64_3, 64, SAVE64 "out %al, $0x80");
#define SAVE32                                                                        \
    "mov %eax, 0x20000\n mov %ecx, 0x20008\n mov %edx, 0x20010\n mov %ebx, 0x20018\n" \
    "mov %esp, 0x20020\n mov %ebp, 0x20028\n mov %esi, 0x20030\n mov %edi, 0x20038\n"
BENCH_GUEST(guest_32, 32, SAVE32 "out %al, $0x80");
BENCH_GUEST(guest_16, 16,
            "mov %eax, 0x6000\n mov %ecx, 0x6008\n mov %edx, 0x6010\n mov %ebx, 0x6018\n"
            "mov %esp, 0x6020\n mov %ebp, 0x6028\n mov %esi, 0x6030\n mov %edi, 0x6038\n"
            "out %al, $0x80");

/* Accesses of every kind; between them nothing changes but what they load. */
BENCH_GUEST(guest_access, 64,
            "out %al, $0x81\n"
            "in $0x88, %eax\n"
            "mov $0xd0000000, %edx\n"
            "mov %rbx, 0x20(%rdx)\n"
            "mov 0x28(%rdx), %rsi\n"
            "movb 0x30(%rdx), %cl\n"
            "mov $0x83, %edx\n mov $0x20000, %edi\n mov $3, %ecx\n cld\n rep insb\n"
            "out %al, $0x84");

/* ---- filling -----------------------------------------------------------------------------------
 */

enum mode { REAL, PROTECTED, COMPATIBILITY, LONG, PROTECTED3, COMPATIBILITY3, LONG3, MODES };

static const char *const mode_names[] = {
    "real mode",         "protected mode",        "compatibility mode", "64-bit mode",
    "protected, ring 3", "compatibility, ring 3", "64-bit mode, ring 3"};

static uint64_t value_of(unsigned n)
{
    return UINT64_C(0x1122334455667788) * (2 * n + 1) ^ UINT64_C(0x0101010101010101) * n;
}

static bool is_wide(enum mode mode)
{
    return mode == LONG || mode == LONG3;
}

static void enter(struct x86_cpu *cpu, enum mode mode)
{
    switch (mode) {
    case REAL:
        bench_real_mode(cpu);
        break;
    case PROTECTED:
    case PROTECTED3:
        bench_protected_mode(cpu, mode == PROTECTED3 ? 3 : 0);
        break;
    default:
        bench_long_mode(cpu, mode >= PROTECTED3 ? 3 : 0, is_wide(mode));
    }
}

/* Everything that may have any value. */
static void fill(struct x86_cpu *cpu, enum mode mode)
{
    uint64_t mask = is_wide(mode) ? UINT64_MAX : UINT32_MAX;

    for (unsigned n = 0; n < (is_wide(mode) ? X86_GPRS : 8u); n++) {
        if (n != X86_RSP) {
            cpu->gpr[n] = value_of(n) & mask;
        }
    }
    cpu->rflags |= X86_FLAG_ID | X86_FLAG_AC | X86_FLAG_CF | X86_FLAG_PF;
    cpu->cr2 = value_of(20) & mask;
    cpu->cr8 = 5;
    for (unsigned n = 0; n < 4; n++) {
        cpu->dr[n] = 0x10203040 * (n + 1) & UINT32_MAX;
    }
    if (mode != REAL) {
        cpu->segment[X86_FS].base = 0x24000;
        cpu->segment[X86_GS].base = 0x25000;
        cpu->segment[X86_LDTR] = (struct x86_segment){
            .base = 0x26000, .limit = 0x17, .selector = 0x60, .attributes = X86_SEGMENT_P | 2};
        cpu->gdt.limit = 0xef;
        cpu->idt = (struct x86_table){BENCH_IDT, 0xfee};
    }
    for (unsigned at = X86_XSAVE_ST; at < X86_XSAVE_ST + 128; at++) {
        cpu->xsave[at] = (at & 15) < 10 ? (uint8_t)(at * 7) : 0;
    }
    for (unsigned at = X86_XSAVE_XMM; at < X86_XSAVE_XMM + 256; at++) {
        cpu->xsave[at] = (uint8_t)(at * 5);
    }
    memcpy(cpu->xsave + X86_XSAVE_FCW, &(uint16_t){0x27f}, 2);
    memcpy(cpu->xsave + X86_XSAVE_MXCSR, &(uint32_t){0x1fa0}, 4);
}

static uint64_t field(const struct x86_cpu *cpu, unsigned at, size_t size)
{
    uint64_t value = 0;

    memcpy(&value, cpu->xsave + at, size);
    return value;
}

/* ---- comparison --------------------------------------------------------------------------------
 */

static struct x86_cpu *copy;

static void take_copy(const struct x86_cpu *cpu)
{
    if (!copy) {
        copy = aligned_alloc(64, (sizeof(*copy) + 63) & ~(size_t)63);
    }
    *copy = *cpu;
}

/* Clears what the vCPU's structure has of registers, so that only fetching brings it. */
static void forget(struct x86_cpu *cpu)
{
    memset(cpu->gpr, 0xee, sizeof(cpu->gpr));
    memset(cpu->segment, 0xee, sizeof(cpu->segment));
    memset(cpu->dr, 0xee, sizeof(cpu->dr));
    memset(cpu->xsave, 0xee, sizeof(cpu->xsave));
    memset(&cpu->gdt, 0xee, sizeof(cpu->gdt));
    memset(&cpu->idt, 0xee, sizeof(cpu->idt));
    memset(&cpu->events, 0, sizeof(cpu->events));
    memset(cpu->apic_page, 0xee, sizeof(cpu->apic_page));
    cpu->rip = cpu->rflags = cpu->cr0 = cpu->cr2 = cpu->cr3 = cpu->cr4 = cpu->cr8 = cpu->efer =
        cpu->xcr0 = cpu->apic_base = 0xeeeeeeee;
}

static bool same_segments(const struct x86_cpu *a, const struct x86_cpu *b)
{
    for (unsigned n = 0; n < X86_SEGMENTS; n++) {
        const struct x86_segment *s = &a->segment[n], *t = &b->segment[n];

        if (s->base != t->base || s->limit != t->limit || s->selector != t->selector ||
            s->attributes != t->attributes) {
            tap_note("segment %u: %#llx %#x %#x %#x, expected %#llx %#x %#x %#x", n,
                     (unsigned long long)s->base, s->limit, s->selector, s->attributes,
                     (unsigned long long)t->base, t->limit, t->selector, t->attributes);
            return false;
        }
    }
    return true;
}

static bool same_msrs(const struct x86_cpu *a, const struct x86_cpu *b)
{
    bool same = true;

    for (unsigned n = 0; n < X86_MSR_COUNT; n++) {
        /* time goes on */
        if (n != X86_MSR_tsc && !a->msr_absent[n] && a->msr[n] != b->msr[n]) {
            tap_note("%s: %#llx, expected %#llx", x86_msr_name((enum x86_msr)n),
                     (unsigned long long)a->msr[n], (unsigned long long)b->msr[n]);
            same = false;
        }
    }
    return same;
}

static void compare(const struct x86_cpu *cpu, const struct x86_cpu *old, const char *where)
{
    tap_ok(!memcmp(cpu->gpr, old->gpr, sizeof(cpu->gpr)), "%s: general registers", where);
    if (!tap_ok(cpu->rip == old->rip && (cpu->rflags | 2) == (old->rflags | 2), "%s: rip and flags",
                where)) {
        tap_note("%#llx %#llx, expected %#llx %#llx", (unsigned long long)cpu->rip,
                 (unsigned long long)cpu->rflags, (unsigned long long)old->rip,
                 (unsigned long long)old->rflags);
    }
    tap_ok(same_segments(cpu, old), "%s: segments", where);
    tap_ok(cpu->gdt.base == old->gdt.base && cpu->gdt.limit == old->gdt.limit &&
               cpu->idt.base == old->idt.base && cpu->idt.limit == old->idt.limit,
           "%s: descriptor tables", where);
    tap_ok(cpu->cr0 == old->cr0 && cpu->cr2 == old->cr2 && cpu->cr3 == old->cr3 &&
               cpu->cr4 == old->cr4 && cpu->cr8 == old->cr8 && cpu->efer == old->efer,
           "%s: control registers", where);
    tap_ok(!memcmp(cpu->dr, old->dr, 4 * sizeof(uint64_t)) && cpu->dr[6] == old->dr[6] &&
               cpu->dr[7] == old->dr[7],
           "%s: debug registers", where);
    tap_ok(field(cpu, X86_XSAVE_FCW, 2) == field(old, X86_XSAVE_FCW, 2) &&
               field(cpu, X86_XSAVE_MXCSR, 4) == field(old, X86_XSAVE_MXCSR, 4) &&
               !memcmp(cpu->xsave + X86_XSAVE_ST, old->xsave + X86_XSAVE_ST, 128) &&
               !memcmp(cpu->xsave + X86_XSAVE_XMM, old->xsave + X86_XSAVE_XMM, 256),
           "%s: x87 and SSE", where);
    tap_ok(cpu->xcr0 == old->xcr0, "%s: XCR0", where);
    tap_ok(same_msrs(cpu, old), "%s: model-specific registers", where);
    tap_ok(cpu->apic_base == old->apic_base, "%s: IA32_APIC_BASE", where);
    tap_ok(cpu->activity == old->activity, "%s: activity", where);
}

/* What the guest has stored of its registers at `base`, 8 bytes each. */
static void look(const struct x86_cpu *old, uint64_t base, unsigned count, const char *where)
{
    bool same = true;

    for (unsigned n = 0; n < count; n++) {
        uint64_t got = bench_load(base + 8 * n);

        same &= (count == 16 ? got : (uint32_t)got) ==
                (count == 16 ? old->gpr[n] : (uint32_t)old->gpr[n]);
    }
    tap_ok(same, "%s: the guest has these general registers", where);
}

static void look_at_system(const struct x86_cpu *old)
{
    uint64_t base;

    tap_eq(bench_load(0x20080) & ~UINT64_C(2), old->rflags & ~UINT64_C(2), "the guest's flags");
    tap_eq(bench_load(0x20088), old->cr0, "its CR0");
    tap_eq(bench_load(0x20090), old->cr2, "its CR2");
    tap_eq(bench_load(0x20098), old->cr3, "its CR3");
    tap_eq(bench_load(0x200a0), old->cr4, "its CR4");
    tap_eq(bench_load(0x200a8), old->cr8, "its CR8");
    tap_eq(bench_load(0x200b0), old->segment[X86_FS].selector, "its FS");
    tap_eq(bench_load(0x200b8), 0xf5f5f5f5, "where that is");
    tap_eq(bench_load(0x200c0), 0x6565656565, "where GS is");
    tap_eq(bench_load(0x200c8), old->msr[X86_MSR_star], "its IA32_STAR");
    tap_eq(bench_load(0x200d0), old->msr[X86_MSR_kernel_gs_base], "its IA32_KERNEL_GS_BASE");
    tap_eq(bench_load(0x200d8), old->msr[X86_MSR_sysenter_esp], "its IA32_SYSENTER_ESP");
    memcpy(&base, bench_at(0x200e2), 8);
    tap_ok(base == old->gdt.base && (bench_load(0x200e0) & 0xffff) == old->gdt.limit, "its GDTR");
    tap_eq(bench_load(0x200f0), old->dr[1], "its DR1");
}

/* ---- modes -------------------------------------------------------------------------------------
 */

static void one_mode(enum mode mode)
{
    struct x86_cpu *cpu = bench_cpu("host");
    char where[64];

    enter(cpu, mode);
    fill(cpu, mode);
    if (mode == REAL) {
        BENCH_CODE(cpu, guest_16);
    } else if (!is_wide(mode)) {
        BENCH_CODE(cpu, guest_32);
    } else if (mode == LONG) {
        BENCH_CODE(cpu, guest_64);
    } else {
        BENCH_CODE(cpu, guest_64_3);
    }
    cpu->msr[X86_MSR_star] = 0x0023001000000000;
    cpu->msr[X86_MSR_kernel_gs_base] = 0x00007fabcdef0000;
    cpu->msr[X86_MSR_sysenter_cs] = 0x18;
    cpu->msr[X86_MSR_sysenter_esp] = 0x12345678;
    cpu->msr[X86_MSR_sysenter_eip] = 0x87654321;
    cpu->msr[X86_MSR_pat] = 0x0607040506070405;
    bench_store(0x24010, 0xf5f5f5f5);
    bench_store(0x25010, 0x6565656565);
    take_copy(cpu);
    tap_eq(kvm_arch_store(kvm_cpu(&cpu->common)), 0, "registers are stored");
    kvm_cpu(&cpu->common)->changed = false;
    kvm_cpu(&cpu->common)->fetched = false;
    forget(cpu);
    bench_fetch(cpu);
    compare(cpu, copy, mode_names[mode]);
    take_copy(cpu);
    bench_run(cpu);
    snprintf(where, sizeof(where), "%s, at work", mode_names[mode]);
    look(copy, mode == REAL ? 0x6000 : 0x20000, is_wide(mode) ? 16 : 8, where);
    bench_fetch(cpu);
    copy->rip = cpu->rip;
    if (mode >= PROTECTED3) { /* a host that runs ring 3 beneath another system may not keep IOPL */
        cpu->rflags |= X86_FLAG_IOPL;
    }
    compare(cpu, copy, where);
    if (mode == LONG) {
        bench_run(cpu);
        look_at_system(copy);
    }
}

/* ---- in the middle of accesses ------------------------------------------------------------------
 */

static void check(struct x86_cpu *cpu, uint64_t offset, const char *what)
{
    bench_fetch(cpu);
    tap_ok(cpu->rip == BENCH_TEXT + offset, "%s: rip is the next instruction's", what);
    for (unsigned n = 0; n < X86_GPRS; n++) {
        if (cpu->gpr[n] != copy->gpr[n]) {
            tap_ok(false, "%s: register %u is %#llx, not %#llx", what, n,
                   (unsigned long long)cpu->gpr[n], (unsigned long long)copy->gpr[n]);
            return;
        }
    }
    tap_ok(true, "%s: registers are what the access makes of them", what);
}

static void accesses(bool change)
{
    struct x86_cpu *cpu = bench_cpu("host");

    bench_long_mode(cpu, 0, true);
    fill(cpu, LONG);
    BENCH_CODE(cpu, guest_access);
    take_copy(cpu);
    bench_run(cpu);
    check(cpu, 2, "behind a write to a port");
    if (change) {
        cpu->gpr[X86_RBP] = copy->gpr[X86_RBP] = 0xabcd;
        bench_changed(cpu);
    }
    bench.answer = 0xfedcba98;
    bench_run(cpu);
    copy->gpr[X86_RAX] = 0xfedcba98;
    check(cpu, 4, "behind a read from a port");
    if (change) {
        cpu->gpr[X86_RAX] = copy->gpr[X86_RAX] = 0x4321;
        bench_changed(cpu);
    }
    bench_run(cpu);
    copy->gpr[X86_RDX] = BENCH_DEVICE;
    tap_ok(bench.access.write && bench.access.address == 0x20 &&
               bench.access.value == copy->gpr[X86_RBX],
           "a device is written");
    check(cpu, 13, "behind a write to a device");
    bench.answer = 0x0123456789abcdef;
    bench_run(cpu);
    copy->gpr[X86_RSI] = bench.answer;
    check(cpu, 17, "behind a read from a device");
    bench.answer = 0x5a;
    bench_run(cpu);
    copy->gpr[X86_RCX] = (copy->gpr[X86_RCX] & ~UINT64_C(0xff)) | 0x5a;
    check(cpu, 20, "behind a read of one byte");
    bench_store(0x20000, 0);
    bench_run(cpu);
    bench_fetch(cpu);
    while (bench.access.address == 3) { /* so many at a time as the kernel likes */
        bench_run(cpu);
    }
    tap_eq(bench_load(0x20000), 0x5a5a5a, "a string instruction is finished");
    copy->gpr[X86_RDX] = 0x83;
    copy->gpr[X86_RDI] = 0x20003;
    copy->gpr[X86_RCX] = 0;
    copy->rflags &= ~(uint64_t)X86_FLAG_DF;
    check(cpu, BENCH_SIZE(guest_access), "behind the last write to a port");
}

/* ---- events, extended state
 * ---------------------------------------------------------------------- */

static void again(struct x86_cpu *cpu)
{
    struct kvm_cpu *k = kvm_cpu(&cpu->common);

    if (kvm_arch_store(k) < 0) {
        tap_ok(false, "registers are stored");
    }
    k->changed = k->fetched = false;
    forget(cpu);
    bench_fetch(cpu);
}

static void events(void)
{
    struct x86_cpu *cpu = bench_cpu("host");
    struct x86_events *e = &cpu->events;

    bench_long_mode(cpu, 0, true);
    e->nmi_masked = e->nmi_pending = true;
    e->shadow = 1;
    again(cpu);
    tap_ok(e->nmi_masked && e->nmi_pending && e->shadow, "a pending NMI, and what holds it back");
    e->nmi_pending = e->nmi_masked = false;
    e->shadow = 0;
    e->exception_injected = true;
    e->exception = 13;
    e->exception_has_error = true;
    e->exception_error = 0x78;
    again(cpu);
    tap_ok((e->exception_injected || e->exception_pending) && e->exception == 13 &&
               e->exception_has_error && e->exception_error == 0x78 && !e->nmi_masked,
           "an exception on its way");
    *e = (struct x86_events){.interrupt_injected = true, .interrupt = 0x51};
    again(cpu);
    tap_ok(e->interrupt_injected && e->interrupt == 0x51 && !e->exception_injected,
           "an interrupt on its way");
    *e = (struct x86_events){0};
    cpu->activity = X86_HALTED;
    again(cpu);
    tap_ok(cpu->activity == X86_HALTED && !e->interrupt_injected, "a halted vCPU");
    cpu->activity = X86_WAIT_FOR_SIPI;
    again(cpu);
    tap_eq(cpu->activity, X86_WAIT_FOR_SIPI, "one that waits for its start");
    cpu->activity = X86_RUNNABLE;
    cpu->apic_page[0xf0] = 0x3f;
    cpu->apic_page[0xf1] = 1;
    cpu->apic_page[0x320] = 0x44;
    again(cpu);
    tap_ok(cpu->has_apic_page && cpu->apic_page[0xf0] == 0x3f && cpu->apic_page[0xf1] == 1 &&
               cpu->apic_page[0x320] == 0x44,
           "the page of the local APIC");
}

/* Kernels may have AVX and not list it, which shows when it is set. */
static void extended(void)
{
    struct x86_cpu *cpu = bench_cpu("host");
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.value = 7}}};
    uint64_t bv = 7;
    uint8_t upper[256];

    x86_feature_set(&cpu->model.feature, "xsave", true);
    x86_feature_set(&cpu->model.feature, "avx", true);
    bench_long_mode(cpu, 0, true);
    if (kvm_x86_set_up(kvm_cpu(&cpu->common)) < 0 ||
        kvm_vcpu_ioctl(kvm_cpu(&cpu->common), KVM_SET_XCRS, &xcrs) < 0) {
        tap_skip("AVX state", "the host CPU has none that guests may use");
        return;
    }
    cpu->cr4 |= X86_CR4_OSXSAVE;
    cpu->xcr0 = 7;
    fill(cpu, LONG);
    memcpy(cpu->xsave + X86_XSAVE_XSTATE_BV, &bv, 8);
    for (unsigned n = 0; n < sizeof(upper); n++) {
        upper[n] = cpu->xsave[X86_XSAVE_AVX + n] = (uint8_t)(n * 3 + 1);
    }
    again(cpu);
    tap_eq(cpu->xcr0, 7, "XCR0");
    tap_ok(field(cpu, X86_XSAVE_XSTATE_BV, 8) >> 2 & 1 &&
               !memcmp(cpu->xsave + X86_XSAVE_AVX, upper, sizeof(upper)),
           "upper halves of AVX registers");
}

static void pointers(void)
{
    struct x86_cpu *cpu = bench_cpu("host");

    bench_protected_mode(cpu, 0);
    for (unsigned n = 0; n < 4; n++) {
        bench_store(BENCH_TABLES + 8 * n, (BENCH_TABLES + 0x1000 * (n + 1)) | 1);
    }
    cpu->cr0 |= X86_CR0_PG;
    cpu->cr4 = X86_CR4_PAE;
    cpu->cr3 = BENCH_TABLES;
    again(cpu);
    if (!kvm_x86.sregs2 || !(cpu->cr0 & X86_CR0_PG)) {
        tap_skip("pointers of PAE paging", "the kernel behind /dev/kvm does not keep them");
        return;
    }
    tap_ok(cpu->has_pdptrs && cpu->pdptr[3] == (BENCH_TABLES + 0x4000) + 1,
           "PAE paging: pointers come from memory");
    cpu->pdptr[3] = (BENCH_TABLES + 0x5000) | 1;
    again(cpu);
    tap_eq(cpu->pdptr[3], (BENCH_TABLES + 0x5000) + 1, "or are what is stored");
}

int main(void)
{
    if (!bench_open("", "registers of vCPUs")) {
        return tap_done();
    }
    for (unsigned mode = 0; mode < MODES; mode++) {
        one_mode((enum mode)mode);
    }
    accesses(false);
    accesses(true);
    events();
    extended();
    pointers();
    bench_close();
    return tap_done();
}
