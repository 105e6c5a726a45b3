/* A guest of PVH whose first instructions print a byte at COM1; then it stands. */
    .section .note.pvh, "a", @note
    .long 4, 4, 18              /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long start32
    .section .text.start, "ax"
    .code32
    .globl start32
start32:
    mov $0x3f8, %edx
    mov $'!', %al
    out %al, %dx
0:  hlt
    jmp 0b
    .section .note.GNU-stack, "", @progbits
