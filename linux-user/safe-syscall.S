/*
 * Host system calls on behalf of the guest that cannot miss a signal, and the host's signal return.
 *
 *   int64_t user_safe_syscall_raw(const uint32_t *doorbell, long nr, a0, a1, a2, a3, a4, a5)
 *
 * "Is a signal waiting?" and the call are one window of code, [user_safe_start, user_safe_end). A
 * handler that finds rip inside it knows that the call has not happened: not begun, or withdrawn by
 * the kernel, which moves rip back to the syscall instruction for a call that is to be made again.
 * It sends the thread to user_safe_restart, with -513 (ERESTARTNOINTR) as the result.
 */
    .text
    .globl user_safe_syscall_raw
    .globl user_safe_start
    .globl user_safe_end
    .globl user_safe_restart
    .hidden user_safe_syscall_raw
    .hidden user_safe_start
    .hidden user_safe_end
    .hidden user_safe_restart
    .type user_safe_syscall_raw, @function
    .p2align 4
user_safe_syscall_raw:
    .cfi_startproc
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    movq %rdi, %rbx
    movq %rsi, %rax
    movq %rdx, %rdi
    movq %rcx, %rsi
    movq %r8, %rdx
    movq %r9, %r10
    movq 16(%rsp), %r8
    movq 24(%rsp), %r9
user_safe_start:
    cmpl $0, (%rbx)
    jne user_safe_restart
    syscall
user_safe_end:
    jmp 1f
user_safe_restart:
    movq $-513, %rax
1:
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    ret
    .cfi_endproc
    .size user_safe_syscall_raw, . - user_safe_syscall_raw

/* What handlers return to: rt_sigreturn. */
    .globl signal_host_return
    .hidden signal_host_return
    .type signal_host_return, @function
    .p2align 4
signal_host_return:
    movq $15, %rax
    syscall
    ud2
    .size signal_host_return, . - signal_host_return

/*
 * int64_t thread_clone3_raw(const struct clone_args *args, size_t size, void (*entry)(void *), void *)
 * int64_t thread_clone_raw(uint64_t flags, void *stack_top, int *pidfd, void (*entry)(void *),
 *                          void *argument, int *ctid)
 *
 * The host's clone3 and clone with a stack of the child's own, on which it calls entry(argument),
 * which must not return. Registers but rax, rcx and r11 are the parent's in the child.
 */
    .globl thread_clone3_raw
    .hidden thread_clone3_raw
    .type thread_clone3_raw, @function
    .p2align 4
thread_clone3_raw:
    movq %rdx, %r8
    movq %rcx, %r9
    movl $435, %eax
    syscall
    testq %rax, %rax
    jz 1f
    ret
1:
    xorl %ebp, %ebp
    movq %r9, %rdi
    call *%r8
    ud2
    .size thread_clone3_raw, . - thread_clone3_raw

    .globl thread_clone_raw
    .hidden thread_clone_raw
    .type thread_clone_raw, @function
    .p2align 4
thread_clone_raw:
    movq %r9, %r10
    movq %rcx, %r9          /* r8, the thread pointer's place, is ignored without CLONE_SETTLS */
    movl $56, %eax
    syscall
    testq %rax, %rax
    jz 2f
    ret
2:
    xorl %ebp, %ebp
    movq %r8, %rdi
    call *%r9
    ud2
    .size thread_clone_raw, . - thread_clone_raw

    .section .note.GNU-stack, "", @progbits
