/*
 * Reset, and traps, of the bare-metal guests. guest.h says how to use it.
 *
 * Every trap to M ends the run_at() that is under way: what the guest did in between is of no
 * interest but for what the trap's registers say, and a0. A trap to S (stvec holds s_trap) goes on
 * to M by an ecall, for which scause and the like stay as they are.
 */
    .option norvc
    .section .text.start
    .globl _start
_start:
    csrr t0, mhartid
    bnez t0, park
    la sp, stack_end
    la t0, m_trap
    csrw mtvec, t0
    la t0, s_trap
    csrw stvec, t0
    la t0, __bss_start
    la t1, __bss_end
1:  sd zero, (t0)
    addi t0, t0, 8
    bltu t0, t1, 1b
    call main
    li t0, 0x100000         /* the test device: power off */
    li t1, 0x5555
    sw t1, (t0)
park:
    wfi
    j park

/* uint64_t run_at(uint64_t pc, uint64_t a0, unsigned privilege) */
    .globl run_at
run_at:
    addi sp, sp, -112
    sd ra, 0(sp)
    sd s0, 8(sp)
    sd s1, 16(sp)
    sd s2, 24(sp)
    sd s3, 32(sp)
    sd s4, 40(sp)
    sd s5, 48(sp)
    sd s6, 56(sp)
    sd s7, 64(sp)
    sd s8, 72(sp)
    sd s9, 80(sp)
    sd s10, 88(sp)
    sd s11, 96(sp)
    la t0, saved_sp
    sd sp, (t0)
    csrw mepc, a0
    li t0, 0x1800
    csrc mstatus, t0
    slli a2, a2, 11
    csrs mstatus, a2
    mv a0, a1
    mret

    .globl m_trap
    .align 2
m_trap:
    la t0, trap
    csrr t1, mcause
    sd t1, (t0)
    csrr t1, mepc
    sd t1, 8(t0)
    csrr t1, mtval
    sd t1, 16(t0)
    csrr t1, mstatus
    sd t1, 24(t0)
    sd a0, 32(t0)
    sd t2, 40(t0)
    li t1, 0x20000          /* MPRV: the handler's own loads must not translate */
    csrc mstatus, t1
    la t0, saved_sp
    ld sp, (t0)
    ld ra, 0(sp)
    ld s0, 8(sp)
    ld s1, 16(sp)
    ld s2, 24(sp)
    ld s3, 32(sp)
    ld s4, 40(sp)
    ld s5, 48(sp)
    ld s6, 56(sp)
    ld s7, 64(sp)
    ld s8, 72(sp)
    ld s9, 80(sp)
    ld s10, 88(sp)
    ld s11, 96(sp)
    addi sp, sp, 112
    la t0, trap
    ld a0, (t0)
    ret

    .globl s_trap
    .align 2
s_trap:
    ecall

/* For vectored interrupts: t2 tells the entry. */
    .globl m_vector
    .align 8
m_vector:
    .set n, 0
    .rept 16
    j 1f + n * 8
    .set n, n + 1
    .endr
    .set n, 0
1:  .rept 16
    li t2, n + 100
    j m_trap
    .set n, n + 1
    .endr

/* Pieces to be run at some privilege; each ends by an ecall. */
    .macro piece name, insns:vararg
    .globl \name
    .align 2
\name:
    \insns
    ecall
    .endm
    piece do_ecall, nop
    piece do_ebreak, ebreak
    piece do_load8, ld a0, (a0)
    piece do_load1, lb a0, (a0)
    piece do_store8, sd zero, (a0)
    piece do_lr, lr.d a0, (a0)
    piece do_sc, sc.d a0, zero, (a0)
    piece do_amo, amoadd.d a0, zero, (a0)
    piece do_jump, jr a0
    piece do_wfi, wfi
    piece do_sret, sret
    piece do_mret, mret
    piece do_sfence, sfence.vma
    piece do_time, csrr a0, time
    piece do_satp, csrr a0, satp
    piece do_fadd, fadd.d fa0, fa0, fa0
    piece do_fsd, fsd fa0, (a0)
    piece do_csr_none, csrr a0, 0x5ff
    piece do_readonly, csrw cycle, a0
    piece do_zero, .insn i 0x0f, 2, x0, a0, 4 /* cbo.zero */
    piece do_clean, .insn i 0x0f, 2, x0, a0, 1 /* cbo.clean */
    piece do_fence_i, fence.i
    piece do_custom, .word 0xffffffff
    piece do_spin, 1: j 1b

    .bss
    .align 4
    .globl trap
trap:
    .skip 48
saved_sp:
    .skip 8
    .align 4
    .skip 16384
stack_end:
