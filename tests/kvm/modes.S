/*
 * What modes.c needs and C can't have: system call handlers, and code of 16 and 32 bits.
 *
 * void real_mode(unsigned test) leaves long mode, runs one of the tests below in real mode, and
 * comes back. Code and data of real mode are copied to REAL first; a test leaves its results in
 * `real_results`, of the copy.
 */
#include "tests/kvm/selectors.h"

#define REAL   0x9000
#define LOW(x) (REAL + (x) - real_start)

    .text
    .code64
    .globl on_syscall, on_syscall32, syscalls, syscall_flags, syscall_r11, syscall_rcx
on_syscall:
    incl syscalls
    mov %r11, syscall_r11
    mov %rcx, syscall_rcx
    pushfq
    popq syscall_flags
    sysretq
/* Returns to compatibility mode. */
on_syscall32:
    incl syscalls
    sysretl

    .globl real_mode
real_mode:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, real_sp
    mov %edi, LOW(real_test)
    mov $real_back, %eax
    mov %eax, LOW(real_return)
    sidt LOW(real_idt)
    ljmp *1f
1:  .long 2f
    .word SEL_CODE32
    .code32
2:  mov %cr0, %eax
    and $0x7fffffff, %eax
    mov %eax, %cr0
    mov $0xc0000080, %ecx
    rdmsr
    and $~0x100, %eax
    wrmsr
    xor %eax, %eax
    mov %eax, %cr4
    mov $SEL_DATA, %eax     /* for unreal mode: FS keeps its limit */
    mov %eax, %fs
    mov $SEL_DATA16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %gs
    ljmp $SEL_CODE16, $LOW(real_protected)

    .globl real_back
real_back:
    mov $SEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $real_done, %esi
    jmp to_long
    .code64
real_done:
    mov real_sp, %rsp
    lidt idt_pointer
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

/* ---- what is copied ------------------------------------------------------------------------ */

    .globl real_start, real_end, real_results
    .balign 16
real_start:
    .code16
real_protected:
    lidtl LOW(real_ivt)
    mov %cr0, %eax
    and $~1, %eax
    mov %eax, %cr0
    ljmp $REAL >> 4, $1f - real_start
1:  mov %cs, %ax
    mov %ax, %ds
    mov %ax, %es
    xor %ax, %ax
    mov %ax, %ss
    mov $REAL, %sp
    mov real_test - real_start, %bx
    shl $1, %bx
    call *real_tests - real_start(%bx)
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl LOW(real_gdt)
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl *LOW(real_return)

/* Points a vector to a handler in this segment. */
    .macro vector n, handler
    push %ds
    xor %ax, %ax
    mov %ax, %ds
    movw $\handler - real_start, \n * 4
    movw $REAL >> 4, \n * 4 + 2
    pop %ds
    .endm
#define RESULT(n) (real_results - real_start + (n) * 4)

/* 0: arithmetic of segments, calls, stack, strings. */
real_basic:
    mov $0x1234, %ax
    mov %ax, %es
    movl $0x89abcdef, %es:0x10
    xor %ax, %ax
    mov %ax, %es
    mov $0x1235, %ax
    mov %ax, %es
    mov %es:0, %eax
    mov %eax, RESULT(0)
    mov $0xffff, %ax        /* 0x100000, for A20 is open */
    mov %ax, %es
    mov %es:0x10, %eax
    mov %eax, RESULT(1)
    mov %ds, %ax
    mov %ax, %es
    mov %sp, %bx
    pushw $0x1111
    pushl $0x22223333
    mov %bx, %ax
    sub %sp, %ax
    mov %ax, RESULT(2)
    popl %eax
    mov %eax, RESULT(3)
    popw %ax
    lcall $REAL >> 4, $1f - real_start
    jmp 2f
1:  mov $0x77, %eax
    lret
2:  mov %eax, RESULT(4)
    mov $real_start - real_start, %si
    mov $0xc000 - REAL, %di
    mov $8, %cx
    cld
    rep movsl
    mov 0xc01c - REAL, %eax
    cmp 0x1c, %eax
    sete RESULT(5)
    pushf
    pop %ax
    andw $0x200, %ax
    mov %ax, RESULT(6)
    smsw %ax
    andw $1, %ax
    mov %ax, RESULT(7)
    ret

/* 1: software interrupts and their frames. */
real_int:
    vector 0x40, 1f
    sti
    mov %sp, %bx
    stc
    int $0x40
    setc RESULT(3)
    cli
    ret
1:  mov %sp, %ax
    sub %ax, %bx
    mov %bx, RESULT(0)
    pushf
    pop %ax
    and $0x200, %ax
    mov %ax, RESULT(1)
    mov %sp, %bp
    mov 4(%bp), %ax         /* flags as they were: IF, CF */
    and $0x201, %ax
    mov %ax, RESULT(2)
    iret

/* 2 and 8: faults: where they are, and how many are not. The handlers restore the stack. */
    .macro fault n, result, insn:vararg
    vector \n, 8f
9:  \insn
    incl RESULT(5)
    jmp 7f
8:  pop %ax
    sub $9b - real_start - 1, %ax
    mov %ax, RESULT(\result)
7:  mov real_saved - real_start, %sp
    .endm
real_faults:
    mov %sp, real_saved - real_start
    xor %cx, %cx
    xor %dx, %dx
    mov $1, %ax
    fault 0, 0, div %cx
    mov $0xffff, %bx
    fault 13, 1, mov (%bx), %eax
    mov $0xffff, %bp
    fault 12, 2, mov (%bp), %eax
    ret
real_invalid:
    mov %sp, real_saved - real_start
    fault 6, 0, ud2
    ret

/* 3: hardware interrupts through vector 0x50, sent to itself; FS reaches all memory. */
real_irq:
    vector 0x50, 1f
    mov $100, %cx
    mov $0xfee00300, %ebx
2:  movl $0x40050, %fs:(%ebx) /* to itself */
    sti
    hlt
    cli
    loop 2b
    ret
1:  incl RESULT(0)
    movl $0, %fs:0xb0 - 0x300(%ebx)
    iret

/* 4: memory above 1 MiB through FS, whose limit is that of protected mode. */
real_unreal:
    movl $0x600000, %ebx
    movl $0x13579bdf, %fs:(%ebx)
    mov %fs:(%ebx), %eax
    mov %eax, RESULT(0)
    ret

/* 5: single steps. */
real_step:
    vector 1, 1f
    pushf
    pop %ax
    or $0x100, %ax
    push %ax
    popf
    nop
    nop
    nop
    pushf
    pop %ax
    and $~0x100, %ax
    push %ax
    popf
    ret
1:  incl RESULT(0)
    iret

/* 6: INT3 and INTO. */
real_int3:
    vector 3, 1f
    vector 4, 2f
    int3
    mov $0x7f, %al
    add $1, %al
    into
    ret
1:  incl RESULT(0)
    iret
2:  incl RESULT(1)
    iret

/* 7: ports. */
real_ports:
    mov $0x3ff, %dx
    mov $0x6b, %al
    out %al, %dx
    xor %al, %al
    in %dx, %al
    mov %al, RESULT(0)
    mov $0x514, %dx
    in %dx, %eax
    mov %eax, RESULT(1)
    mov $100, %cx
    mov $0xc000 - REAL, %di
    cld
    rep insl
    mov 0xc18c - REAL, %eax
    mov %eax, RESULT(2)
    mov %di, RESULT(3)
    ret

    .balign 4
real_tests:
    .word real_basic - real_start, real_int - real_start, real_faults - real_start
    .word real_irq - real_start, real_unreal - real_start, real_step - real_start
    .word real_int3 - real_start, real_ports - real_start, real_invalid - real_start
    .balign 4
real_return:
    .long 0
    .word SEL_CODE32
real_saved:
    .word 0
real_test:
    .long 0
real_ivt:
    .word 0x3ff
    .long 0
real_gdt:
    .word 0x8f
    .long gdt
real_idt:
    .skip 10
    .balign 4
real_results:
    .skip 32
real_end:
    .code64

    .bss
    .balign 8
real_sp:
    .skip 8
syscall_flags:
    .skip 8
syscall_r11:
    .skip 8
syscall_rcx:
    .skip 8
syscalls:
    .skip 4
