/*
 * Entry, tables and traps of the 32-bit guests; guest32.h says how to use it.
 *
 * There is no paging until a guest wants it. Each exception ends the run_at() that is under way, or
 * is offered to handlers[vector].
 */
#include "tests/kvm/selectors32.h"

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 4, 18          /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long start32

    .section .text.start, "ax"
    .globl start32
start32:
    cld
    mov $bss_start, %edi
    mov $bss_end, %ecx
    sub %edi, %ecx
    shr $2, %ecx
    xor %eax, %eax
    rep stosl
    mov %ebx, start_info
    mov $stack_end, %esp
    lgdt gdt_pointer
    ljmp $SEL_CODE, $1f
1:  mov $SEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    mov $idt, %edi
    mov $stubs, %ebx
1:  mov %ebx, %eax
    movw %ax, (%edi)
    movw $SEL_CODE, 2(%edi)
    movw $0xee00, 4(%edi)   /* interrupt gate, open to INT of ring 3 */
    shr $16, %eax
    movw %ax, 6(%edi)
    add $8, %edi
    add $16, %ebx
    cmp $idt_end, %edi
    jne 1b
    lidt idt_pointer
    movw $SEL_DATA, tss + 8 /* stack of ring 0 */
    movl $trap_stack_end, tss + 4
    movw $104, tss + 102
    mov $tss, %eax
    movw %ax, gdt + SEL_TSS + 2
    shr $16, %eax
    movb %al, gdt + SEL_TSS + 4
    movb %ah, gdt + SEL_TSS + 7
    mov $SEL_TSS, %eax
    ltr %ax
    call guest_main
    push %eax
    call end
    .globl end
end:
    mov 4(%esp), %eax
    mov $0xf4, %edx
    out %eax, %dx
1:  cli
    hlt
    jmp 1b

    .globl stubs
    .balign 16
stubs:
    .set n, 0
    .rept 256
    .balign 16
    .if n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21
    .else
    push $0
    .endif
    push $n
    jmp trap_common
    .set n, n + 1
    .endr

/* The frame is copied whole, with two words more: what rings 3 and 0 push differs. */
    .balign 16
    .globl trap_common
trap_common:
    pusha
    push %ds
    push %es
    push %fs
    push %gs
    mov $SEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    movzbl 48(%esp), %eax
    mov handlers(, %eax, 4), %ecx
    cld
    jecxz 1f
    push %esp
    call *%ecx
    add $4, %esp
    pop %gs
    pop %fs
    pop %es
    pop %ds
    popa
    add $8, %esp
    iret
1:  mov %esp, %esi
    mov $trap, %edi
    mov $23, %ecx
    rep movsl
    mov %eax, trap + 48
    mov %cr2, %eax
    mov %eax, (%edi)
    mov $SEL_DATA, %eax
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    mov saved_sp, %esp
    test %esp, %esp
    jz 2f
    movl $0, saved_sp
    pop %edi
    pop %esi
    pop %ebx
    pop %ebp
    popf
    mov trap + 48, %eax
    ret
2:  mov $stack_end, %esp
    call unexpected_trap

/*
 * uint32_t run_at(const void *code, uint32_t argument, unsigned flags, cs, ss): argument in edi. By
 * far return within ring 0, by SYSEXIT to ring 3's flat segments, by IRET to others: emulators of
 * ring 0 that know no IRET are then still good for most.
 */
    .globl run_at, run_at_iret
run_at_iret:
    movl $1, by_iret
run_at:
    pushf
    push %ebp
    push %ebx
    push %esi
    push %edi
    mov %esp, saved_sp
    mov 24(%esp), %ebx
    mov 28(%esp), %edi
    mov 32(%esp), %ebp
    mov 36(%esp), %ecx
    mov 40(%esp), %eax
    test $3, %cl
    jz 1f
    xor %edx, %edx
    xchg %edx, by_iret
    test %edx, %edx
    jnz 3f
    cmp $SEL_CODE_USER, %ecx
    jne 3f
    mov %eax, %ds
    mov %eax, %es
    mov $0x174, %ecx        /* SYSENTER_CS */
    mov $SEL_CODE, %eax
    xor %edx, %edx
    wrmsr
    push %ebp
    popf
    mov %ebx, %edx
    mov $run_stack_end, %ecx
    sysexit
1:  mov $run_stack_end, %esp
    xor %edx, %edx
    xchg %edx, by_iret
    test %edx, %edx
    jnz 2f
    mov %eax, %ds
    mov %eax, %es
    push %ebp
    popf
    push %ecx
    push %ebx
    lret
3:  push %eax
    push $run_stack_end
2:  push %ebp
    push %ecx
    push %ebx
    mov %eax, %ds
    mov %eax, %es
    iret

    .globl leave
leave:
    ud2

    .section .data.tables, "aw"
    .balign 16
    .globl gdt, gdt_pointer, idt_pointer
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    /* 08: code */
    .quad 0x00cf93000000ffff    /* 10: data */
    .quad 0x00cffb000000ffff    /* 18: code, ring 3 */
    .quad 0x00cff3000000ffff    /* 20: data, ring 3 */
    .quad 0x00cfbb000000ffff    /* 28: code, ring 1 */
    .quad 0x00cfb3000000ffff    /* 30: data, ring 1 */
    .quad 0x000f9b000000ffff    /* 38: code, 16-bit, 1 MiB */
    .quad 0x000093000000ffff    /* 40: data, 64 KiB */
    .quad 0x0000890000000067    /* 48: TSS */
    .quad 0x00cf9f000000ffff    /* 50: code, conforming */
    .quad 0x00cf91000000ffff    /* 58: data, read-only */
    .quad 0x00cf99000000ffff    /* 60: code, execute-only */
    .quad 0x00cf13000000ffff    /* 68: data, not present */
    .quad 0x00409320000000ff    /* 70: data, 256 bytes at 0x200000 */
    .quad 0x00409720000000ff    /* 78: data, expands down, above 0xff at 0x200000 */
    .quad 0, 0, 0, 0            /* 80 and on: a guest's own */
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt
    .balign 4
idt_pointer:
    .word idt_end - idt - 1
    .long idt

    .bss
    .balign 16
    .globl idt, tss, trap, handlers, start_info
idt:
    .skip 2048
idt_end:
tss:
    .skip 112
trap:
    .skip 24 * 4
handlers:
    .skip 256 * 4
start_info:
    .skip 4
saved_sp:
    .skip 4
by_iret:
    .skip 4
    .balign 16
    .skip 8192
stack_end:
    .globl run_stack_end, trap_stack_end
    .skip 4096
run_stack_end:
    .skip 4096
trap_stack_end:
