/*
 * Registers of a vCPU, between the kernel and struct x86_cpu.
 *
 * Fetching brings every class. Storing gives the kernel only classes that differ from what it is
 * known to have: that was fetched or stored last, if the vCPU has not run since. It is not only for
 * speed. A debugger changes one register of a vCPU that stands, while others run and send it
 * interrupts: the local APIC and what is pending must not be put back to what was fetched. And some
 * registers have effects when they are written (clocks, timers).
 *
 * The order of storing is the interface's: CPUID decides what may be set at all; the base of the
 * APIC (sregs) comes before its page; XCR0 before the states that it names; the timer of the APIC
 * after its mode, which is in the page; and events last, for setting the general registers drops a
 * pending exception.
 *
 * An access to a port or to registers of a device that was answered is finished by the kernel at
 * the next KVM_RUN only: registers that it loads, the address of the next instruction. So it is
 * finished before registers are fetched, by KVM_RUN with immediate_exit, which does not enter the
 * guest.
 */
#include "accel/kvm/x86.h"

#include "target/x86/arch.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

/* ---- general registers ----------------------------------------------------------------------- */

/* In the order of enum x86_gpr. */
static const uint8_t gpr_offsets[X86_GPRS] = {
    offsetof(struct kvm_regs, rax), offsetof(struct kvm_regs, rcx), offsetof(struct kvm_regs, rdx),
    offsetof(struct kvm_regs, rbx), offsetof(struct kvm_regs, rsp), offsetof(struct kvm_regs, rbp),
    offsetof(struct kvm_regs, rsi), offsetof(struct kvm_regs, rdi), offsetof(struct kvm_regs, r8),
    offsetof(struct kvm_regs, r9),  offsetof(struct kvm_regs, r10), offsetof(struct kvm_regs, r11),
    offsetof(struct kvm_regs, r12), offsetof(struct kvm_regs, r13), offsetof(struct kvm_regs, r14),
    offsetof(struct kvm_regs, r15),
};

static void from_regs(struct x86_cpu *cpu, const struct kvm_regs *regs)
{
    for (unsigned n = 0; n < X86_GPRS; n++) {
        memcpy(&cpu->gpr[n], (const char *)regs + gpr_offsets[n], 8);
    }
    cpu->rip = regs->rip;
    cpu->rflags = regs->rflags;
}

static void to_regs(const struct x86_cpu *cpu, struct kvm_regs *regs)
{
    for (unsigned n = 0; n < X86_GPRS; n++) {
        memcpy((char *)regs + gpr_offsets[n], &cpu->gpr[n], 8);
    }
    regs->rip = cpu->rip;
    regs->rflags = cpu->rflags | X86_FLAG_ONE;
}

/* ---- segments, control registers --------------------------------------------------------------
 */

static struct x86_segment from_segment(const struct kvm_segment *s)
{
    return (struct x86_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .attributes =
            (uint16_t)(s->type | (s->s ? X86_SEGMENT_S : 0) | s->dpl << X86_SEGMENT_DPL_SHIFT |
                       (s->present && !s->unusable ? X86_SEGMENT_P : 0) |
                       (s->avl ? X86_SEGMENT_AVL : 0) | (s->l ? X86_SEGMENT_L : 0) |
                       (s->db ? X86_SEGMENT_DB : 0) | (s->g ? X86_SEGMENT_G : 0)),
    };
}

static struct kvm_segment to_segment(const struct x86_segment *s)
{
    uint16_t a = s->attributes;

    return (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .type = a & X86_SEGMENT_TYPE,
        .s = !!(a & X86_SEGMENT_S),
        .dpl = a >> X86_SEGMENT_DPL_SHIFT & 3,
        .present = !!(a & X86_SEGMENT_P),
        .avl = !!(a & X86_SEGMENT_AVL),
        .l = !!(a & X86_SEGMENT_L),
        .db = !!(a & X86_SEGMENT_DB),
        .g = !!(a & X86_SEGMENT_G),
        .unusable = !(a & X86_SEGMENT_P),
    };
}

/* In the order of enum x86_segment_number. */
static const uint16_t segment_offsets[X86_SEGMENTS] = {
    offsetof(struct kvm_sregs2, es),  offsetof(struct kvm_sregs2, cs),
    offsetof(struct kvm_sregs2, ss),  offsetof(struct kvm_sregs2, ds),
    offsetof(struct kvm_sregs2, fs),  offsetof(struct kvm_sregs2, gs),
    offsetof(struct kvm_sregs2, ldt), offsetof(struct kvm_sregs2, tr),
};

static void from_sregs(struct x86_cpu *cpu, const struct kvm_sregs2 *s)
{
    for (unsigned n = 0; n < X86_SEGMENTS; n++) {
        cpu->segment[n] =
            from_segment((const struct kvm_segment *)((const char *)s + segment_offsets[n]));
    }
    cpu->gdt = (struct x86_table){s->gdt.base, s->gdt.limit};
    cpu->idt = (struct x86_table){s->idt.base, s->idt.limit};
    cpu->cr0 = s->cr0;
    cpu->cr2 = s->cr2;
    cpu->cr3 = s->cr3;
    cpu->cr4 = s->cr4;
    cpu->cr8 = s->cr8;
    cpu->efer = s->efer;
    cpu->apic_base = s->apic_base;
    cpu->has_pdptrs = s->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
    for (unsigned n = 0; n < 4; n++) {
        cpu->pdptr[n] = cpu->has_pdptrs ? s->pdptrs[n] : 0;
    }
}

static void to_sregs(const struct x86_cpu *cpu, struct kvm_sregs2 *s)
{
    for (unsigned n = 0; n < X86_SEGMENTS; n++) {
        *(struct kvm_segment *)((char *)s + segment_offsets[n]) = to_segment(&cpu->segment[n]);
    }
    s->gdt = (struct kvm_dtable){.base = cpu->gdt.base, .limit = cpu->gdt.limit};
    s->idt = (struct kvm_dtable){.base = cpu->idt.base, .limit = cpu->idt.limit};
    s->cr0 = cpu->cr0;
    s->cr2 = cpu->cr2;
    s->cr3 = cpu->cr3;
    s->cr4 = cpu->cr4;
    s->cr8 = cpu->cr8;
    s->efer = cpu->efer;
    s->apic_base = cpu->apic_base;
    s->flags = cpu->has_pdptrs ? KVM_SREGS2_FLAGS_PDPTRS_VALID : 0;
    for (unsigned n = 0; n < 4; n++) {
        s->pdptrs[n] = cpu->has_pdptrs ? cpu->pdptr[n] : 0;
    }
}

/* The older call has no pointers of PAE paging: the kernel reads them from memory. */
static int sregs_old(struct kvm_cpu *k, struct kvm_sregs2 *s, bool set)
{
    const size_t same = offsetof(struct kvm_sregs2, flags);
    struct kvm_sregs old = {0};
    int err;

    _Static_assert(offsetof(struct kvm_sregs, interrupt_bitmap) ==
                       offsetof(struct kvm_sregs2, flags),
                   "same fields");
    if (set) {
        memcpy(&old, s, same);
        return kvm_vcpu_ioctl(k, KVM_SET_SREGS, &old);
    }
    err = kvm_vcpu_ioctl(k, KVM_GET_SREGS, &old);
    memset(s, 0, sizeof(*s));
    memcpy(s, &old, same);
    return err;
}

static int get_sregs(struct kvm_cpu *k, struct kvm_sregs2 *s)
{
    return kvm_x86.sregs2 ? kvm_vcpu_ioctl(k, KVM_GET_SREGS2, s) : sregs_old(k, s, false);
}

static int set_sregs(struct kvm_cpu *k, struct kvm_sregs2 *s)
{
    return kvm_x86.sregs2 ? kvm_vcpu_ioctl(k, KVM_SET_SREGS2, s) : sregs_old(k, s, true);
}

/* ---- extended state ---------------------------------------------------------------------------
 */

/* With KVM_CAP_XSAVE2 the area may be longer than 4096 bytes; it is set by the same call. */
static int get_xsave(struct kvm_cpu *k, void *xsave)
{
    return kvm_vcpu_ioctl(
        k, kvm_x86.xsave_size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, xsave);
}

static int get_xcrs(struct kvm_cpu *k, struct kvm_xcrs *xcrs)
{
    memset(xcrs, 0, sizeof(*xcrs));
    return kvm_x86.xcrs ? kvm_vcpu_ioctl(k, KVM_GET_XCRS, xcrs) : 0;
}

static void from_xcrs(struct x86_cpu *cpu, const struct kvm_xcrs *xcrs)
{
    cpu->xcr0 = X86_XCR0_X87;
    for (uint32_t n = 0; n < xcrs->nr_xcrs && n < KVM_MAX_XCRS; n++) {
        if (xcrs->xcrs[n].xcr == 0) {
            cpu->xcr0 = xcrs->xcrs[n].value;
        }
    }
}

static void to_xcrs(const struct x86_cpu *cpu, struct kvm_xcrs *xcrs)
{
    memset(xcrs, 0, sizeof(*xcrs));
    xcrs->nr_xcrs = 1;
    xcrs->xcrs[0].value = cpu->xcr0;
}

/* ---- debug registers, events, activity --------------------------------------------------------
 */

static void from_debugregs(struct x86_cpu *cpu, const struct kvm_debugregs *d)
{
    for (unsigned n = 0; n < 4; n++) {
        cpu->dr[n] = d->db[n];
    }
    cpu->dr[6] = d->dr6;
    cpu->dr[7] = d->dr7;
}

static void to_debugregs(const struct x86_cpu *cpu, struct kvm_debugregs *d)
{
    memset(d, 0, sizeof(*d));
    for (unsigned n = 0; n < 4; n++) {
        d->db[n] = cpu->dr[n];
    }
    d->dr6 = cpu->dr[6];
    d->dr7 = cpu->dr[7];
}

/* Without KVM_CAP_EXCEPTION_PAYLOAD an exception is injected or there is none, and what it loads
 * into CR2 or DR6 is there already. */
static void from_events(struct x86_cpu *cpu, const struct kvm_vcpu_events *e)
{
    struct x86_events *to = &cpu->events;

    *to = (struct x86_events){
        .exception_injected = e->exception.injected,
        .exception_pending = e->flags & KVM_VCPUEVENT_VALID_PAYLOAD ? e->exception.pending : false,
        .exception_has_error = e->exception.has_error_code,
        .exception = e->exception.nr,
        .exception_error = e->exception.error_code,
        .interrupt_injected = e->interrupt.injected,
        .interrupt_soft = e->interrupt.soft,
        .interrupt = e->interrupt.nr,
        .shadow = e->interrupt.shadow,
        .nmi_injected = e->nmi.injected,
        .nmi_pending = e->nmi.pending,
        .nmi_masked = e->nmi.masked,
        .sipi_vector = e->sipi_vector,
    };
    if (e->flags & KVM_VCPUEVENT_VALID_PAYLOAD) {
        to->exception_has_payload = e->exception_has_payload;
        to->exception_payload = e->exception_payload;
    }
    if (e->flags & KVM_VCPUEVENT_VALID_SMM) {
        to->smm = e->smi.smm;
        to->smi_pending = e->smi.pending;
        to->smm_inside_nmi = e->smi.smm_inside_nmi;
        to->smi_latched_init = e->smi.latched_init;
    }
    if (e->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) {
        to->triple_fault = e->triple_fault.pending;
    }
}

static void to_events(const struct x86_cpu *cpu, struct kvm_vcpu_events *e)
{
    const struct x86_events *from = &cpu->events;

    memset(e, 0, sizeof(*e));
    e->exception.injected = from->exception_injected;
    e->exception.nr = from->exception;
    e->exception.has_error_code = from->exception_has_error;
    e->exception.error_code = from->exception_error;
    e->interrupt.injected = from->interrupt_injected;
    e->interrupt.nr = from->interrupt;
    e->interrupt.soft = from->interrupt_soft;
    e->interrupt.shadow = from->shadow;
    e->nmi.injected = from->nmi_injected;
    e->nmi.pending = from->nmi_pending;
    e->nmi.masked = from->nmi_masked;
    e->sipi_vector = from->sipi_vector;
    e->smi.smm = from->smm;
    e->smi.pending = from->smi_pending;
    e->smi.smm_inside_nmi = from->smm_inside_nmi;
    e->smi.latched_init = from->smi_latched_init;
    e->flags = KVM_VCPUEVENT_VALID_SHADOW;
    if (kvm_x86.payload) {
        e->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
        e->exception.pending = from->exception_pending;
        e->exception_has_payload = from->exception_has_payload;
        e->exception_payload = from->exception_payload;
    }
    if (kvm_x86.triple_fault) {
        e->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
        e->triple_fault.pending = from->triple_fault;
    }
}

static const uint8_t mp_states[] = {
    [X86_RUNNABLE] = KVM_MP_STATE_RUNNABLE,
    [X86_WAIT_FOR_SIPI] = KVM_MP_STATE_UNINITIALIZED,
    [X86_INIT_RECEIVED] = KVM_MP_STATE_INIT_RECEIVED,
    [X86_HALTED] = KVM_MP_STATE_HALTED,
    [X86_SIPI_RECEIVED] = KVM_MP_STATE_SIPI_RECEIVED,
};

static void from_mp_state(struct x86_cpu *cpu, const struct kvm_mp_state *s)
{
    for (unsigned n = 0; n < sizeof(mp_states); n++) {
        if (mp_states[n] == s->mp_state) {
            cpu->activity = (enum x86_activity)n;
        }
    }
}

/* ---- fetching ---------------------------------------------------------------------------------
 */

/*
 * Has the kernel finish an access that was answered. It may be one of several parts, which come as
 * further exits. The byte that makes KVM_RUN return stays set: it may be somebody's kick by now.
 */
static int finish_access(struct kvm_cpu *k)
{
    while (k->answered) {
        int err;

        k->answered = false;
        __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        err = ioctl(k->fd, KVM_RUN, NULL) < 0 ? errno : 0;
        kvm_arch_after_run(k);
        if (err == EINTR) {
            return 0;
        }
        if (err) {
            return -err;
        }
        kvm_handle_exit(k);
    }
    return 0;
}

int kvm_arch_fetch(struct kvm_cpu *k)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    struct kvm_x86_cpu *x86 = kvm_x86_cpu(k);
    struct kvm_x86_known *known = &x86->known;
    bool apic = kvm_x86_apic_in_kernel();
    int err = finish_access(k);

    if (err < 0 || (err = kvm_x86_set_up(k)) < 0 ||
        (err = kvm_vcpu_ioctl(k, KVM_GET_REGS, &known->regs)) < 0 ||
        (err = get_sregs(k, &known->sregs)) < 0 || (err = get_xcrs(k, &known->xcrs)) < 0 ||
        (err = get_xsave(k, known->xsave)) < 0 ||
        (err = kvm_vcpu_ioctl(k, KVM_GET_DEBUGREGS, &known->debugregs)) < 0 ||
        (err = kvm_vcpu_ioctl(k, KVM_GET_VCPU_EVENTS, &known->events)) < 0 ||
        (apic && (err = kvm_vcpu_ioctl(k, KVM_GET_MP_STATE, &known->mp_state)) < 0) ||
        (apic && (err = kvm_vcpu_ioctl(k, KVM_GET_LAPIC, &known->lapic)) < 0)) {
        return err;
    }
    from_regs(cpu, &known->regs);
    from_sregs(cpu, &known->sregs);
    from_xcrs(cpu, &known->xcrs);
    memcpy(cpu->xsave, known->xsave, kvm_x86.xsave_size);
    from_debugregs(cpu, &known->debugregs);
    from_events(cpu, &known->events);
    cpu->has_apic_page = apic;
    if (apic) {
        from_mp_state(cpu, &known->mp_state);
        memcpy(cpu->apic_page, known->lapic.regs, sizeof(cpu->apic_page));
    }
    err = kvm_x86_fetch_msrs(k);
    x86->is_known = err >= 0;
    return err < 0 ? err : 0;
}

/* ---- storing ----------------------------------------------------------------------------------
 */

#define DIFFERS(x86, part) \
    (!(x86)->is_known || memcmp(&(x86)->known.part, &(x86)->wanted.part, sizeof((x86)->known.part)))

/* What the kernel counts by itself is set only if it was changed on purpose. */
static void choose_event_flags(struct kvm_x86_cpu *x86, struct kvm_vcpu_events *wanted)
{
    const struct kvm_vcpu_events *known = &x86->known.events;

    if (!x86->is_known || wanted->nmi.pending != known->nmi.pending) {
        wanted->flags |= KVM_VCPUEVENT_VALID_NMI_PENDING;
    }
    if (!x86->is_known || wanted->sipi_vector != known->sipi_vector) {
        wanted->flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
    }
    if (kvm_x86.smm &&
        (!x86->is_known || memcmp(&wanted->smi, &known->smi, sizeof(known->smi)) != 0)) {
        wanted->flags |= KVM_VCPUEVENT_VALID_SMM;
    }
}

/* The general state: what has no effect but to be there. `changed`: something was set. */
static int store_state(struct kvm_cpu *k, bool *changed)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    struct kvm_x86_cpu *x86 = kvm_x86_cpu(k);
    struct kvm_x86_known *wanted = &x86->wanted;
    int err = 0;

    memset(&wanted->sregs, 0, sizeof(wanted->sregs));
    to_regs(cpu, &wanted->regs);
    to_sregs(cpu, &wanted->sregs);
    to_xcrs(cpu, &wanted->xcrs);
    memcpy(wanted->xsave, cpu->xsave, kvm_x86.xsave_size);
    if (DIFFERS(x86, regs)) {
        *changed = true;
        err = kvm_vcpu_ioctl(k, KVM_SET_REGS, &wanted->regs);
    }
    if (err >= 0 && DIFFERS(x86, sregs)) {
        *changed = true;
        err = set_sregs(k, &wanted->sregs);
    }
    if (err >= 0 && kvm_x86.xcrs && x86_model_has(&cpu->model, "xsave") && DIFFERS(x86, xcrs)) {
        err = kvm_vcpu_ioctl(k, KVM_SET_XCRS, &wanted->xcrs);
    }
    if (err >= 0 &&
        (!x86->is_known || memcmp(x86->known.xsave, wanted->xsave, kvm_x86.xsave_size) != 0)) {
        err = kvm_vcpu_ioctl(k, KVM_SET_XSAVE, wanted->xsave);
    }
    return err;
}

/* CR8 and the APIC's TPR are one register, which debuggers know as the former. */
static int store_apic(struct kvm_cpu *k)
{
    enum { TPR = 0x80 };
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    struct kvm_x86_cpu *x86 = kvm_x86_cpu(k);

    memcpy(x86->wanted.lapic.regs, cpu->apic_page, sizeof(cpu->apic_page));
    if ((cpu->apic_page[TPR] >> 4) != cpu->cr8) {
        x86->wanted.lapic.regs[TPR] = (char)(cpu->cr8 << 4);
    }
    return DIFFERS(x86, lapic) ? kvm_vcpu_ioctl(k, KVM_SET_LAPIC, &x86->wanted.lapic) : 0;
}

static int store_activity(struct kvm_cpu *k)
{
    struct kvm_x86_cpu *x86 = kvm_x86_cpu(k);

    x86->wanted.mp_state.mp_state = mp_states[x86_cpu(k->cpu)->activity];
    return DIFFERS(x86, mp_state) ? kvm_vcpu_ioctl(k, KVM_SET_MP_STATE, &x86->wanted.mp_state) : 0;
}

static int store_events(struct kvm_cpu *k, bool changed)
{
    struct x86_cpu *cpu = x86_cpu(k->cpu);
    struct kvm_x86_cpu *x86 = kvm_x86_cpu(k);
    struct kvm_x86_known *wanted = &x86->wanted;
    struct kvm_vcpu_events same;
    int err = 0;

    to_debugregs(cpu, &wanted->debugregs);
    if (DIFFERS(x86, debugregs)) {
        err = kvm_vcpu_ioctl(k, KVM_SET_DEBUGREGS, &wanted->debugregs);
    }
    to_events(cpu, &wanted->events);
    same = x86->known.events;
    same.flags = wanted->events.flags;
    if (err >= 0 &&
        (changed || !x86->is_known || memcmp(&same, &wanted->events, sizeof(same)) != 0)) {
        choose_event_flags(x86, &wanted->events);
        err = kvm_vcpu_ioctl(k, KVM_SET_VCPU_EVENTS, &wanted->events);
    }
    return err;
}

int kvm_arch_store(struct kvm_cpu *k)
{
    struct kvm_x86_cpu *x86 = kvm_x86_cpu(k);
    bool apic = kvm_x86_apic_in_kernel(), changed = false;
    int err = kvm_x86_set_up(k);

    x86->is_mirrored = false;
    if (err < 0 || (err = store_state(k, &changed)) < 0 ||
        (err = kvm_x86_store_msrs(k, false)) < 0 || (apic && (err = store_apic(k)) < 0) ||
        (err = kvm_x86_store_msrs(k, true)) < 0 || (apic && (err = store_activity(k)) < 0) ||
        (err = store_events(k, changed)) < 0) {
        x86->is_known = false;
        return err;
    }
    x86->is_known = false; /* what was stored may be normalised by the kernel */
    return 0;
}
