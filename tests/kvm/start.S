/*
 * Entry, tables and traps of the 64-bit guests; guest.h says how to use it.
 *
 * PVH starts the first processor in flat 32-bit protected mode. Page tables map the first 5 GiB at
 * their own addresses by pages of 2 MiB, open to ring 3. The other processors come here by INIT and
 * SIPI through `trampoline`, which has been copied to 0x8000.
 *
 * An interrupt or exception is offered to `handlers[vector]`. Without one, it ends the run_at()
 * that is under way; what the guest did in between is of no interest but for what is in `trap`.
 */
#include "tests/kvm/selectors.h"

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 4, 18          /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long start32

    .section .text.start, "ax"
    .code32
    .globl start32
start32:
    mov $stack_end, %esp
    pushf
    pop %ebp
    cld
    mov $bss_start, %edi
    mov $bss_end, %ecx
    sub %edi, %ecx
    shr $2, %ecx
    xor %eax, %eax
    rep stosl
    mov %ebx, start_info
    mov %ebp, entry_flags
    mov %cr0, %eax
    mov %eax, entry_cr0
    mov %cr4, %eax
    mov %eax, entry_cr4
    mov $main64, %esi
/* To long mode, and to %esi there; the stack is set. */
    .globl to_long
to_long:
    lgdt gdt_pointer
    mov $0x620, %eax        /* CR4: PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $pml4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx   /* EFER: LME, NXE, SCE */
    mov $0x901, %eax
    xor %edx, %edx
    wrmsr
    mov $0x80010033, %eax   /* CR0: PG, WP, NE, ET, MP, PE */
    mov %eax, %cr0
    ljmp $SEL_CODE64, $1f
    .code64
1:  mov $SEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    jmp *%rsi

main64:
    mov $idt, %edi          /* 256 gates to the stubs, which are 16 bytes each */
    mov $stubs, %ebx
1:  mov %ebx, %eax
    movw %ax, (%rdi)
    movw $SEL_CODE64, 2(%rdi)
    movw $0xee00, 4(%rdi)   /* interrupt gate, open to INT of ring 3 */
    shr $16, %eax
    movw %ax, 6(%rdi)
    add $16, %rdi
    add $16, %rbx
    cmp $idt_end, %rdi
    jne 1b
    lidt idt_pointer
    mov $tss, %eax
    movw %ax, gdt + SEL_TSS + 2
    shr $16, %eax
    movb %al, gdt + SEL_TSS + 4
    movb %ah, gdt + SEL_TSS + 7
    movb $0x89, gdt + SEL_TSS + 5
    mov $SEL_TSS, %eax
    ltr %ax
    call guest_main
    mov %eax, %edi
    /* void end(unsigned status): the monitor ends with 2 * status + 1. */
    .globl end
end:
    mov %edi, %eax
    mov $0xf4, %edx
    out %eax, %dx
1:  cli
    hlt
    jmp 1b

/* Where processors begin after SIPI 8. Position independent but for the address 0x8000. */
    .globl trampoline, trampoline_end
    .balign 16
trampoline:
    .code16
    cli
    mov %cs, %ax
    mov %ax, %ds
    lgdtl trampoline_gdt - trampoline
    mov $1, %eax
    mov %eax, %cr0
    ljmpl *trampoline_far - trampoline
    .balign 4
trampoline_far:
    .long other32
    .word SEL_CODE32
trampoline_gdt:
    .word gdt_end - gdt - 1
    .long gdt
trampoline_end:
    .code32
other32:
    mov $SEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $1, %edi            /* its number: 1, 2, ... in order of arrival */
    lock xadd %edi, cpus
    mov %edi, %esp
    shl $12, %esp
    add $other_stacks, %esp
    mov $other64, %esi
    jmp to_long
    .code64
other64:
    lidt idt_pointer
    mov %edi, %edi
    call *other_main
1:  cli
    hlt
    jmp 1b

    .balign 16
stubs:
    .set n, 0
    .rept 256
    .balign 16
    .if n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21 || n == 29 || n == 30
    .else
    push $0
    .endif
    push $n                 /* sign-extended; trap_common takes the low byte */
    jmp trap_common
    .set n, n + 1
    .endr

    .balign 16
trap_common:
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %rax
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    movzbl 120(%rsp), %eax
    mov handlers(, %rax, 8), %rcx
    cld
    jrcxz 1f
    mov %rsp, %rdi
    mov %rsp, %rbp
    and $-16, %rsp
    call *%rcx
    mov %rbp, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rax
    pop %rcx
    pop %rdx
    pop %rsi
    pop %rdi
    add $16, %rsp
    iretq
1:  mov %rsp, %rsi
    mov $trap, %edi
    mov $22, %ecx
    rep movsq
    mov %eax, trap + 120    /* the vector without sign */
    movl $0, trap + 124
    mov %cr2, %rcx
    mov %rcx, (%rdi)
    mov $SEL_DATA, %ecx
    mov %ecx, %ds
    mov %ecx, %es
    mov %ecx, %ss
    mov saved_sp, %rsp
    test %rsp, %rsp
    jz 2f
    movq $0, saved_sp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    popfq
    ret
2:  mov $stack_end, %esp
    call unexpected_trap

/* uint64_t run_at(const void *code, uint64_t argument, unsigned how) */
    .globl run_at
run_at:
    pushfq
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, saved_sp
    mov %rdi, %rbx
    mov %rsi, %rdi
    mov $2, %ebp            /* RFLAGS */
    bt $HOW_IF_BIT, %edx
    jnc 1f
    or $0x200, %ebp
1:  bt $HOW_IOPL_BIT, %edx
    jnc 1f
    or $0x3000, %ebp
1:  bt $HOW_TF_BIT, %edx
    jnc 1f
    or $0x100, %ebp
1:  bt $HOW_AC_BIT, %edx
    jnc 1f
    or $0x40000, %ebp
1:  mov $SEL_DATA, %eax
    mov $SEL_CODE64, %ecx
    bt $HOW_32_BIT, %edx
    jnc 1f
    mov $SEL_CODE32, %ecx
1:  bt $HOW_16_BIT, %edx
    jnc 1f
    mov $SEL_CODE16, %ecx
1:  test $3, %dl
    jz 1f
    mov $SEL_DATA_USER, %eax
    mov $SEL_CODE64_USER, %ecx
    bt $HOW_32_BIT, %edx
    jnc 1f
    mov $SEL_CODE32_USER, %ecx
1:  push %rax
    push $run_stack_end
    push %rbp
    push %rcx
    push %rbx
    mov %eax, %ds
    mov %eax, %es
    iretq

    .globl leave
leave:
    ud2

    .section .data.tables, "aw"
    .balign 4096
    .globl pml4, pdpt, pd
pml4:
    .quad pdpt + 7
    .skip 4088
pdpt:
    .quad pd + 0x0007, pd + 0x1007, pd + 0x2007, pd + 0x3007, pd + 0x4007
    .skip 4096 - 40
pd: .set n, 0
    .rept 5 * 512
    .quad n * 0x200000 + 0x87
    .set n, n + 1
    .endr
    .balign 16
    .globl gdt, gdt_pointer
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    /* 08: code, 32-bit */
    .quad 0x00af9b000000ffff    /* 10: code, 64-bit */
    .quad 0x00cf93000000ffff    /* 18: data */
    .quad 0x00cffb000000ffff    /* 20: code, 32-bit, ring 3 */
    .quad 0x00cff3000000ffff    /* 28: data, ring 3 */
    .quad 0x00affb000000ffff    /* 30: code, 64-bit, ring 3 */
    .quad 0x008f9b000000ffff    /* 38: code, 16-bit, 4 GiB */
    .quad 0x00009b000000ffff    /* 40: code, 16-bit, 64 KiB */
    .quad 0x000093000000ffff    /* 48: data, 64 KiB */
    .quad 0x00cf13000000ffff    /* 50: data, not present */
    .quad 0x0000890000000067    /* 58: TSS */
    .quad 0
    .quad 0, 0, 0, 0, 0         /* 68: a guest's own */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .quad gdt
    .globl idt_pointer
    .balign 4
idt_pointer:
    .word idt_end - idt - 1
    .quad idt
    .globl tss
    .balign 16
tss:
    .long 0
    .quad trap_stack_end
    .skip 104 - 4 - 8 - 2
    .word 104
    .globl cpus
    .balign 8
cpus:
    .long 1

    .bss
    .balign 16
    .globl idt
idt:
    .skip 4096
idt_end:
    .globl trap, handlers, start_info, saved_sp, other_main, entry_cr0, entry_cr4, entry_flags
trap:
    .skip 23 * 8
handlers:
    .skip 256 * 8
saved_sp:
    .skip 8
other_main:
    .skip 8
start_info:
    .skip 8
entry_cr0:
    .skip 4
entry_cr4:
    .skip 4
entry_flags:
    .skip 4
    .balign 16
other_stacks:
    .skip 8 * 4096
    .skip 8192
stack_end:
    .globl run_stack_end, trap_stack_end
    .skip 4096
run_stack_end:
    .skip 4096
trap_stack_end:
