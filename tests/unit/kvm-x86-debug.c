/*
 * Breakpoints, watchpoints and single steps, in ring 0 and ring 3.
 *
 * Hosts that are virtual machines themselves may give debug exceptions of ring 3 to the guest, or
 * know no watchpoints where they emulate ring 0. So each kind is first tried in each ring by the
 * kernel's interface alone; where it does not work so, it is skipped by that name.
 */
#include "tests/unit/kvm-x86.h"

extern const uint8_t at_store[], at_load[], at_out[], at_db[], at_bp[], at_own[];
BENCH_GUEST(guest_loop, 64,
            "1: inc %rax\n mov $0x20000, %ebx\n"
            ".globl at_store, at_load, at_out, at_db, at_bp, at_own\n"
            "at_store: mov %rax, (%rbx)\n"
            "at_load: mov 8(%rbx), %rcx\n"
            "at_out: out %al, $0x80\n jmp 1b\n"
            "at_own: int3\n out %al, $0x80\n jmp at_own\n"
            "at_db: out %al, $0x81\n iretq\n" /* handlers */
            "at_bp: out %al, $0x82\n iretq\n");

#define PC(label) BENCH_PC(guest_loop, label)

enum { BREAK, WATCH, STEP, INT3, KINDS };

static const char *const kinds[] = {"breakpoints in registers", "watchpoints", "single steps",
                                    "breakpoints in memory"};
static bool works[KINDS];
static unsigned ring;

static struct x86_cpu *vcpu(void)
{
    struct x86_cpu *cpu = bench_cpu("host");

    bench_long_mode(cpu, ring, true);
    BENCH_CODE(cpu, guest_loop);
    bench_gate(1, PC(at_db), true);
    bench_gate(3, PC(at_bp), true);
    return cpu;
}

/* Runs until there is something; rip, or -1 when it was not for debugging. */
static uint64_t run(struct x86_cpu *cpu)
{
    bench_run(cpu);
    bench_fetch(cpu);
    return kvm_cpu(&cpu->common)->run->exit_reason == KVM_EXIT_DEBUG ? cpu->rip : UINT64_MAX;
}

/* One of a kind by a bare ioctl. */
static void try_kind(unsigned kind)
{
    struct x86_cpu *cpu = vcpu();
    struct kvm_cpu *k = kvm_cpu(&cpu->common);
    struct kvm_guest_debug g = {.control = KVM_GUESTDBG_ENABLE};
    uint64_t expected = kind == WATCH ? PC(at_load) : PC(at_store);
    char what[80], *code = bench_at(PC(at_store)), byte = *code;

    switch (kind) {
    case BREAK:
        g.control |= KVM_GUESTDBG_USE_HW_BP;
        g.arch.debugreg[0] = PC(at_store);
        g.arch.debugreg[7] = 0x402;
        break;
    case WATCH:
        g.control |= KVM_GUESTDBG_USE_HW_BP;
        g.arch.debugreg[0] = BENCH_DATA;
        g.arch.debugreg[7] = 0x90402;
        break;
    case STEP:
        cpu->rip = PC(at_store) - 5;
        g.control |= KVM_GUESTDBG_SINGLESTEP;
        break;
    default:
        g.control |= KVM_GUESTDBG_USE_SW_BP;
        *code = (char)0xcc;
    }
    kvm_vcpu_ioctl(k, KVM_SET_GUEST_DEBUG, &g);
    kvm_arch_store(k);
    k->changed = false;
    kvm_arch_before_run(k);
    works[kind] = ioctl(k->fd, KVM_RUN, NULL) == 0 && k->run->exit_reason == KVM_EXIT_DEBUG &&
                  k->run->debug.arch.pc == expected;
    *code = byte;
    if (!works[kind]) {
        snprintf(what, sizeof(what), "%s in ring %u", kinds[kind], ring);
        tap_skip(what, "the kernel behind the host's /dev/kvm does not report them");
    }
}

static const struct cpu_service_ops *service;

/* The stop's address, of a watchpoint or (the pc) of anything else; 0: there is none to tell. */
static uint64_t told(struct x86_cpu *cpu, enum cpu_stop_kind kind)
{
    struct cpu_stop stop;

    return service->debug_stop(&cpu->common, &stop) && stop.kind == kind ? stop.address : 0;
}

static void hits(struct x86_cpu *cpu, uint64_t pc, uint64_t watched, const char *what)
{
    uint64_t got = run(cpu), address = told(cpu, CPU_STOP_WATCHPOINT);

    if (!tap_ok(got == pc && bench.event == ACCEL_EVENT_DEBUG && address == watched, "ring %u: %s",
                ring, what)) {
        tap_note("exit %u at %#llx, %#llx watched", kvm_cpu(&cpu->common)->run->exit_reason,
                 (unsigned long long)cpu->rip, (unsigned long long)address);
    }
}

static void misses(struct x86_cpu *cpu, const char *what)
{
    run(cpu);
    tap_ok(bench.event < 0 && bench.access.port && bench.access.address == 0, "ring %u: %s", ring,
           what);
}

static void steps(void)
{
    struct x86_cpu *cpu = vcpu();

    if (!works[STEP]) {
        return;
    }
    tap_eq(service->single_step(&cpu->common, true), 0, "single steps are switched on");
    hits(cpu, PC(at_store) - 5, 0, "one instruction");
    hits(cpu, PC(at_store), 0, "another");
    tap_eq(cpu->gpr[X86_RAX], 1, "each is executed once");
    cpu->gpr[X86_RAX] = 77;
    bench_changed(cpu);
    hits(cpu, PC(at_load), 0, "with a register changed");
    tap_eq(bench_load(BENCH_DATA), 77, "which it uses");
    tap_eq(service->single_step(&cpu->common, false), 0, "single steps are switched off");
    misses(cpu, "and the guest runs");
}

static void breakpoints(void)
{
    struct x86_cpu *cpu = vcpu();

    tap_eq(service->breakpoint(&cpu->common, PC(at_store), true), 0, "a breakpoint");
    tap_eq(service->breakpoint(&cpu->common, PC(at_store), true), 0, "again");
    tap_ok(*(uint8_t *)bench_at(PC(at_store)) != 0xcc, "is not in memory");
    if (works[BREAK]) {
        hits(cpu, PC(at_store), 0, "a breakpoint is hit");
        tap_eq(cpu->gpr[X86_RAX], 1, "before its instruction");
        service->breakpoint(&cpu->common, PC(at_load), true);
        service->breakpoint(&cpu->common, PC(at_store), false);
        hits(cpu, PC(at_load), 0, "then another");
        service->breakpoint(&cpu->common, PC(at_load), false);
    } else {
        service->breakpoint(&cpu->common, PC(at_store), false);
    }
    misses(cpu, "none any more");
    tap_eq(service->breakpoint(&cpu->common, PC(at_store), false), -ENOENT,
           "what is removed is not there");
}

/* Going on where the vCPU has stopped. */
static void passing(void)
{
    struct x86_cpu *cpu = vcpu();

    if (!works[BREAK] || !works[STEP]) {
        return;
    }
    service->breakpoint(&cpu->common, PC(at_store), true);
    tap_ok(run(cpu) == PC(at_store), "ring %u: a breakpoint is hit", ring);
    tap_ok(run(cpu) == PC(at_store), "ring %u: again, while nobody has asked about it", ring);
    tap_eq(told(cpu, CPU_STOP_BREAKPOINT), PC(at_store), "it is asked about");
    misses(cpu, "then it is passed");
    tap_eq(bench_load(BENCH_DATA), 1, "its instruction was executed");
    hits(cpu, PC(at_store), 0, "and it is hit the next time");
    tap_ok(cpu->gpr[X86_RAX] == 2, "ring %u: which is another", ring);
    cpu->rip = PC(at_store) - 8;
    bench_changed(cpu);
    hits(cpu, PC(at_store), 0, "one that the pc was taken away from is not passed");
    service->single_step(&cpu->common, true);
    hits(cpu, PC(at_load), 0, "a single step goes over it");
    tap_ok(run(cpu) == PC(at_out) && run(cpu) == PC(at_out) &&
               told(cpu, CPU_STOP_STEP) == PC(at_out),
           "ring %u: a step that nobody has asked about is told again", ring);
    service->single_step(&cpu->common, false);
    service->breakpoint(&cpu->common, PC(at_store), false);
    misses(cpu, "and all is over");
}

static void watchpoints(void)
{
    struct x86_cpu *cpu = vcpu();

    tap_eq(service->watchpoint(&cpu->common, BENCH_DATA, 8, 2, true), 0, "a watchpoint");
    if (works[WATCH]) {
        hits(cpu, PC(at_load), BENCH_DATA, "a write is noticed");
    }
    tap_eq(service->watchpoint(&cpu->common, BENCH_DATA, 8, 2, false), 0, "is removed");
    tap_eq(service->watchpoint(&cpu->common, BENCH_DATA + 8, 4, 3, true), 0, "one for reads");
    if (works[WATCH]) {
        hits(cpu, PC(at_out), BENCH_DATA + 8, "a read is noticed");
    }
    tap_eq(service->watchpoint(&cpu->common, BENCH_DATA + 8, 4, 3, false), 0, "is removed");
    misses(cpu, "nothing is watched any more");
    /* bytes 5 to 13: one, two, and five times four or fewer */
    tap_eq(service->watchpoint(&cpu->common, BENCH_DATA + 5, 9, 2, true), 0,
           "a range that is not aligned");
    if (works[WATCH]) {
        hits(cpu, PC(at_load), BENCH_DATA + 5, "is watched in pieces");
    }
    tap_eq(service->watchpoint(&cpu->common, BENCH_DATA, 4, 2, false), -ENOENT,
           "another range is not there");
    tap_eq(service->watchpoint(&cpu->common, BENCH_DATA + 5, 9, 2, false), 0, "its pieces go");
    misses(cpu, "all of them");
    tap_ok(service->watchpoint(&cpu->common, BENCH_DATA, 0, 2, true) == -EINVAL &&
               service->watchpoint(&cpu->common, BENCH_DATA, 4, 0, true) == -EINVAL &&
               service->watchpoint(&cpu->common, UINT64_MAX, 2, 2, true) == -EINVAL,
           "a range or an access that there is not");
    tap_eq(service->watchpoint(&cpu->common, BENCH_DATA, 64, 2, true), -ENOSPC,
           "a range beyond all registers");
    tap_eq(service->watchpoint(&cpu->common, BENCH_DATA + 1, 31, 2, true), -ENOSPC,
           "one that takes five");
    misses(cpu, "leaves none behind");
}

static unsigned patched(void)
{
    const uint8_t *code = bench_at(BENCH_TEXT);
    unsigned count = 0;

    for (size_t n = 0; n < BENCH_SIZE(guest_loop); n++) {
        count += code[n] != guest_loop[n];
    }
    return count;
}

static void no_more_room(void)
{
    struct x86_cpu *cpu = vcpu(), *other = bench_cpu("host");
    uint8_t *code = bench_at(PC(at_out));

    for (unsigned n = 0; n < 4; n++) {
        service->breakpoint(&cpu->common, 0x6000 + n, true);
    }
    tap_eq(patched(), 0, "four breakpoints are in registers");
    tap_eq(service->breakpoint(&cpu->common, PC(at_store), true), 0, "a fifth");
    tap_ok(patched() == 1 && *(uint8_t *)bench_at(PC(at_store)) == 0xcc, "is in memory");
    tap_eq(service->breakpoint(&cpu->common, UINT64_C(1) << 40, true), -EFAULT,
           "where there must be some");
    if (works[INT3]) {
        hits(cpu, PC(at_store), 0, "is hit");
        tap_eq(cpu->gpr[X86_RAX], 1, "before its instruction");
    }
    tap_eq(service->breakpoint(&cpu->common, PC(at_store), false), 0, "is removed");
    tap_eq(patched(), 0, "and the byte is back");
    misses(cpu, "none is left");

    tap_eq(service->breakpoint(&cpu->common, PC(at_out), true), 0, "one of this vCPU");
    bench_long_mode(other, ring, true);
    for (unsigned n = 0; n < 4; n++) {
        service->breakpoint(&other->common, 0x6000 + n, true);
    }
    tap_eq(service->breakpoint(&other->common, PC(at_out), true), 0, "and of another");
    service->breakpoint(&cpu->common, PC(at_out), false);
    tap_eq(*code, 0xcc, "share a byte");
    service->breakpoint(&other->common, PC(at_out), false);
    tap_eq(patched(), 0, "until the last goes");
    service->breakpoint(&cpu->common, PC(at_out), true);
    *code = 0x90;
    service->breakpoint(&cpu->common, PC(at_out), false);
    tap_eq(*code, 0x90, "what the guest has written meanwhile stays");
    *code = *at_out;
    for (unsigned n = 0; n < 4; n++) {
        service->breakpoint(&other->common, 0x6000 + n, false);
    }

    tap_eq(service->watchpoint(&cpu->common, BENCH_DATA, 8, 2, true), 0,
           "a watchpoint where breakpoints have all registers");
    tap_eq(*(uint8_t *)bench_at(0x6000), 0xcc, "one of them is in memory now");
    if (works[WATCH]) {
        hits(cpu, PC(at_load), BENCH_DATA, "and the watchpoint works");
    }
    for (unsigned n = 1; n < 4; n++) {
        tap_eq(service->watchpoint(&cpu->common, BENCH_DATA + 8 * n, 8, 2, true), 0, "another");
    }
    tap_eq(service->watchpoint(&cpu->common, BENCH_DATA + 0x80, 8, 2, true), -ENOSPC,
           "a fifth there is not");
    for (unsigned n = 0; n < 4; n++) {
        service->watchpoint(&cpu->common, BENCH_DATA + 8 * n, 8, 2, false);
        tap_eq(service->breakpoint(&cpu->common, 0x6000 + n, false), 0,
               "breakpoints are removed from where they are");
    }
    tap_ok(bench_load(0x6000) == 0 && patched() == 0, "and nothing is left of them");
}

/* The guest's own int3, while a debugger has others. */
static void own(void)
{
    struct x86_cpu *cpu = vcpu();

    if (ring == 0 && !works[INT3]) {
        tap_skip("the guest's own int3 in ring 0",
                 "the kernel behind the host's /dev/kvm does not execute it");
        return;
    }
    bench_run(cpu); /* to where registers are the guest's again */
    for (unsigned n = 0; n < 5; n++) {
        service->breakpoint(&cpu->common, n ? 0x6000 + n : PC(at_store), true);
    }
    bench_fetch(cpu);
    cpu->rip = PC(at_own);
    bench_changed(cpu);
    bench_run(cpu);
    tap_ok(bench.event < 0 && bench.access.address == 2, "ring %u: the guest gets its own int3",
           ring);
    bench_run(cpu);
    bench_fetch(cpu);
    tap_ok(bench.access.address == 0 && cpu->rip == PC(at_own) + 3,
           "ring %u: and goes on behind it", ring);
    for (unsigned n = 0; n < 5; n++) {
        service->breakpoint(&cpu->common, n ? 0x6000 + n : PC(at_store), false);
    }
}

static enum kvm_outcome decode(struct x86_cpu *cpu, unsigned exception, uint64_t pc, uint64_t dr6)
{
    struct kvm_cpu *k = kvm_cpu(&cpu->common);

    k->run->exit_reason = KVM_EXIT_DEBUG;
    k->run->debug.arch = (struct kvm_debug_exit_arch){.exception = exception, .pc = pc, .dr6 = dr6};
    return kvm_arch_handle_exit(k);
}

/* What is made of exits that this host may never give. */
static void decoding(void)
{
    struct x86_cpu *cpu = vcpu();

    bench_run(cpu);
    bench_fetch(cpu);
    for (unsigned n = 0; n < 4; n++) {
        service->breakpoint(&cpu->common, n ? 0x6000 + n : PC(at_out), true);
    }
    service->breakpoint(&cpu->common, PC(at_store), true);
    tap_eq(decode(cpu, 1, PC(at_out), 0xffff0ff1), KVM_UNHANDLED, "DR6 names a register");
    tap_eq(told(cpu, CPU_STOP_BREAKPOINT), PC(at_out), "of a breakpoint");
    tap_eq(told(cpu, CPU_STOP_BREAKPOINT), 0, "which is told once");
    tap_eq(decode(cpu, 3, PC(at_store), 0), KVM_UNHANDLED, "int3 of the debugger's");
    tap_eq(told(cpu, CPU_STOP_BREAKPOINT), PC(at_store), "is asked about");
    cpu->rip = PC(at_store);
    tap_ok(kvm_arch_before_run(kvm_cpu(&cpu->common)) && patched() == 0,
           "and is out of memory while it is passed");
    tap_eq(decode(cpu, 1, PC(at_load), 0xffff4ff0), KVM_GO_ON, "until its instruction is over");
    tap_eq(patched(), 1, "then it is back");
    tap_eq(decode(cpu, 3, PC(at_own), 0), KVM_GO_ON, "int3 of the guest's");
    tap_ok(cpu->events.exception == 3 && cpu->events.exception_injected &&
               kvm_cpu(&cpu->common)->changed,
           "is given to it");
    cpu->events = (struct x86_events){0};
    tap_eq(decode(cpu, 1, PC(at_load), 0xffff4ff0), KVM_GO_ON, "a step that nobody wanted");
    tap_ok(cpu->events.exception == 1 &&
               (kvm_x86.payload
                    ? cpu->events.exception_pending && cpu->events.exception_payload == 0xffff4ff0
                    : cpu->events.exception_injected && cpu->dr[6] == 0xffff4ff0),
           "is the guest's, with DR6");
    cpu->events = (struct x86_events){0};
    service->single_step(&cpu->common, true);
    tap_eq(decode(cpu, 1, PC(at_load), 0xffff4ff0), KVM_UNHANDLED, "a step that was wanted");
    service->single_step(&cpu->common, false);
    service->watchpoint(&cpu->common, BENCH_DATA, 4, 2, true);
    for (unsigned n = 0; n < 4; n++) {
        if (kvm_x86_cpu(kvm_cpu(&cpu->common))->debug.reg[n].type) {
            tap_eq(decode(cpu, 1, PC(at_load), 0xffff0ff0 | 1u << n), KVM_UNHANDLED,
                   "DR6 names a watchpoint");
            tap_eq(told(cpu, CPU_STOP_WATCHPOINT), BENCH_DATA, "its address is told");
        }
    }
    service->watchpoint(&cpu->common, BENCH_DATA, 4, 2, false);
    service->breakpoint(&cpu->common, PC(at_store), false);
    for (unsigned n = 0; n < 4; n++) {
        service->breakpoint(&cpu->common, n ? 0x6000 + n : PC(at_out), false);
    }
    tap_eq(patched(), 0, "all is removed");
}

int main(void)
{
    if (!bench_open("", "debugging")) {
        return tap_done();
    }
    service = accel_system_kvm.service;
    for (ring = 0; ring <= 3; ring += 3) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            try_kind(kind);
        }
        steps();
        breakpoints();
        passing();
        watchpoints();
        no_more_room();
        own();
    }
    ring = 0;
    decoding();
    bench_close();
    return tap_done();
}
