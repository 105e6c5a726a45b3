/*
 * Start and traps of the firmware in firmware.c. mscratch holds the frame: pc and x1..x31, f0..f31,
 * fcsr, as struct sigcontext has them.
 */
    .option norvc
    .section .text.start
    .globl _start
_start:
    la sp, stack_end
    la a0, trap_entry
    csrw mtvec, a0
    la a0, frame
    csrw mscratch, a0
    call firmware_start
    j leave

    .align 2
trap_entry:
    csrrw a0, mscratch, a0
    .irp n,1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    sd x\n, 8 * \n(a0)
    .endr
    csrrw t0, mscratch, a0
    sd t0, 80(a0)
    csrr t0, mepc
    sd t0, (a0)
    .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    fsd f\n, 256 + 8 * \n(a0)
    .endr
    frcsr t0
    sd t0, 512(a0)
    la sp, stack_end
    csrr a1, mcause
    csrr a2, mtval
    call firmware_trap
leave:
    la a0, frame
    .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    fld f\n, 256 + 8 * \n(a0)
    .endr
    ld t0, 512(a0)
    fscsr t0
    ld t0, (a0)
    csrw mepc, t0
    .irp n,1,2,3,4,5,6,7,8,9,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld x\n, 8 * \n(a0)
    .endr
    ld a0, 80(a0)
    mret

    .bss
    .align 4
    .globl frame
frame:
    .skip 528
    .skip 8192
    .align 4
stack_end:
