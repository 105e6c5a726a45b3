/*
 * Code that changes: after fence.i, after the flush system call, from another thread, by toggling
 * between writable and executable, and by mapping other code at the same address; and
 * instructions that straddle two pages.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "tests/user/tap.h"

enum { PAGE = 4096 };
typedef uint64_t function(uint64_t);

static char *map(void *at, size_t size, int prot)
{
    return mmap(at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
}

/* `li a0, n; ret`, for n below 2048. */
static void emit_constant(void *at, unsigned n)
{
    uint32_t code[2] = {n << 20 | 0x00000513, 0x00008067};

    memcpy(at, code, sizeof(code));
}

/* The address is hidden from the compiler, which may otherwise think a function has one value. */
static uint64_t call(void *at, uint64_t arg)
{
    function *volatile f = (function *)at;

    return f(arg);
}

static void fence_i(void)
{
    __asm__ volatile("fence.i" ::: "memory");
}

static void flush(void *start, size_t size)
{
    syscall(259, start, (char *)start + size, 0);
}

static void test_fence(void)
{
    char *code = map(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    int bad = 0;

    for (unsigned i = 0; i < 500; i++) {
        emit_constant(code, i);
        fence_i();
        bad += call(code, 0) != i;
    }
    is(bad, 0, "500 changes, each seen after fence.i");
    is(syscall(259, code, code + PAGE, 0), 0, "riscv_flush_icache answers 0");
    ok(syscall(259, code, code + PAGE, 8) == -1 && errno == EINVAL, "and refuses unknown flags");
    bad = 0;
    for (unsigned i = 0; i < 500; i++) {
        emit_constant(code + i % 3 * 64, i);
        if (i % 2)
            flush(code, PAGE);
        else
            syscall(259, code, code + PAGE, 1); /* this thread only */
        bad += call(code + i % 3 * 64, 0) != i;
    }
    is(bad, 0, "500 changes, each seen after the system call");

    /* One instruction in the middle of a loop that has run many times. */
    static const uint32_t loop[] = {
        0x00000613, /*    li a2, 0          */
        0x00160613, /* 1: addi a2, a2, 1    */
        0xfff50513, /*    addi a0, a0, -1   */
        0xfe051ce3, /*    bnez a0, 1b       */
        0x00060513, /*    mv a0, a2         */
        0x00008067, /*    ret               */
    };
    memcpy(code, loop, sizeof(loop));
    fence_i();
    is(call(code, 100000), 100000, "a loop runs hot");
    ((uint32_t *)code)[1] = 0x00360613; /* addi a2, a2, 3 */
    fence_i();
    is(call(code, 1000), 3000, "its changed instruction is seen");
    munmap(code, PAGE);
}

/* Code that stores into the instructions just ahead of itself, then executes fence.i. */
extern uint64_t patch_self(void *target, uint64_t insn);
__asm__(".section .wtext, \"awx\", @progbits\n.balign 4\n.option push\n.option norvc\n"
        "patch_self:\n"
        " sw a1, 0(a0)\n fence.i\n"
        ".globl patch_here\npatch_here: li a0, 1\n ret\n.option pop\n.text\n");
extern char patch_here[];

static void test_self(void)
{
    uintptr_t page = (uintptr_t)patch_here & ~(uintptr_t)(PAGE - 1);

    mprotect((void *)page, PAGE * 2, PROT_READ | PROT_WRITE | PROT_EXEC);
    is(patch_self(patch_here, 0x00200513), 2, "a store to the next instruction, then fence.i");
    is(patch_self(patch_here, 0x00300513), 3, "again, now that it has been translated");
    is(patch_self(patch_here, 0x00400513), 4, "and again");
}

static void test_protect(void)
{
    char *code = map(NULL, PAGE, PROT_READ | PROT_WRITE);
    int bad = 0;

    for (unsigned i = 0; i < 200; i++) {
        mprotect(code, PAGE, PROT_READ | PROT_WRITE);
        emit_constant(code, i);
        mprotect(code, PAGE, PROT_READ | PROT_EXEC);
        flush(code, PAGE);
        bad += call(code, 0) != i;
    }
    is(bad, 0, "200 turns of W^X by mprotect");
    bad = 0;
    for (unsigned i = 0; i < 100; i++) {
        munmap(code, PAGE);
        map(code, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
        emit_constant(code, i);
        flush(code, PAGE);
        bad += call(code, 0) != i;
    }
    is(bad, 0, "100 times other code mapped at the same address");
    /* Two mappings of the same memory: written through one, run through the other. */
    int fd = memfd_create("code", 0);
    char *rw, *rx;

    if (ftruncate(fd, PAGE))
        return;
    rw = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    rx = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    bad = 0;
    for (unsigned i = 0; i < 100; i++) {
        emit_constant(rw, i);
        flush(rx, PAGE);
        bad += call(rx, 0) != i;
    }
    is(bad, 0, "100 changes through an alias");
    bad = 0;
    for (unsigned i = 0; i < 100; i++) {
        uint32_t insns[2] = {(i + 500) << 20 | 0x00000513, 0x00008067};

        bad += pwrite(fd, insns, sizeof(insns), 0) != sizeof(insns);
        fence_i();
        bad += call(rx, 0) != i + 500;
    }
    is(bad, 0, "100 changes by write() to the file");
    close(fd);
}

/* ---- another thread ---- */

static char *shared_code;
static volatile unsigned asked, answered, result, over;

static void *runner(void *arg)
{
    while (!over) {
        unsigned want = __atomic_load_n(&asked, __ATOMIC_ACQUIRE);

        if (want == answered)
            continue;
        if (arg)
            fence_i();
        result = (unsigned)call(shared_code, 0);
        __atomic_store_n(&answered, want, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void test_thread(int remote_fence)
{
    pthread_t thread;
    int bad = 0;

    shared_code = map(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    asked = answered = over = 0;
    emit_constant(shared_code, 0);
    flush(shared_code, PAGE);
    pthread_create(&thread, NULL, runner, remote_fence ? shared_code : NULL);
    for (unsigned i = 1; i < 200; i++) {
        emit_constant(shared_code, i);
        if (!remote_fence)
            flush(shared_code, PAGE); /* flags 0: every thread of the process */
        __atomic_store_n(&asked, i, __ATOMIC_RELEASE);
        while (__atomic_load_n(&answered, __ATOMIC_ACQUIRE) != i)
            sched_yield();
        bad += result != i;
    }
    over = 1;
    pthread_join(thread, NULL);
    is(bad, 0, "code written here, run by a thread %s",
       remote_fence ? "after its own fence.i" : "after our flush call");
    munmap(shared_code, PAGE);
}

/* A thread that stays inside a loop of code while the loop is patched to leave. */
static void *inside(void *arg)
{
    return (void *)call(shared_code, 0);
}

static void test_patched_loop(void)
{
    static const uint32_t loop[] = {0x00150513, 0xffdff06f, 0x00008067}; /* addi; j -4; ret */
    uint32_t *insns = (uint32_t *)map(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    pthread_t thread;
    void *count = NULL;

    shared_code = (char *)insns;
    memcpy(insns, loop, sizeof(loop));
    flush(insns, PAGE);
    pthread_create(&thread, NULL, inside, NULL);
    usleep(20000);
    __atomic_store_n(&insns[1], 0x00000013, __ATOMIC_SEQ_CST); /* nop: falls into the ret */
    flush(insns, PAGE);
    pthread_join(thread, &count);
    ok((uint64_t)count > 1000, "an endless loop patched by another thread ends");
}

/* ---- page crossings ---- */

static sigjmp_buf escape;
static volatile uint64_t got_addr, got_pc;
static volatile int got_code;

static void on_segv(int sig, siginfo_t *info, void *context)
{
    got_addr = (uint64_t)info->si_addr;
    got_code = info->si_code;
    got_pc = ((ucontext_t *)context)->uc_mcontext.__gregs[REG_PC];
    siglongjmp(escape, 1);
}

static void test_crossing(void)
{
    struct sigaction sa = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO};
    char *pages = map(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    char *last = pages + PAGE - 2;

    sigaction(SIGSEGV, &sa, NULL);
    emit_constant(last, 123);
    flush(pages, 2 * PAGE);
    is(call(last, 0), 123, "an instruction straddling two pages");
    *(uint16_t *)last = 0x0593; /* the lower half: the destination becomes a1 */
    flush(last, 2);
    is(call(last, 9), 9, "a change in its first half");
    *(uint16_t *)last = 0x0513;
    *(uint16_t *)(pages + PAGE) = 0x0450; /* the upper half: the immediate becomes 0x45 */
    flush(pages + PAGE, 4);
    is(call(last, 0), 0x45, "a change in its second half");

    mprotect(pages + PAGE, PAGE, PROT_NONE);
    if (!sigsetjmp(escape, 1))
        ok(call(last, 0) == 1 && 0, "its second half is not accessible");
    else
        ok(got_pc == (uint64_t)last && got_addr == (uint64_t)last + 2 && got_code == SEGV_ACCERR,
           "fetch fault on the second half: pc, si_addr of the missing part, SEGV_ACCERR");
    munmap(pages + PAGE, PAGE);
    /* A unit must not be refused, nor fault early, because what follows it is missing. */
    static const uint16_t tail[] = {0x0505, 0x0505, 0x0505}; /* c.addi a0, 1 */
    memcpy(pages + PAGE - 6, tail, sizeof(tail));
    flush(pages, PAGE);
    got_pc = 0;
    if (!sigsetjmp(escape, 1))
        call(pages + PAGE - 6, 0);
    ok(got_pc == (uint64_t)pages + PAGE && got_addr == got_pc && got_code == SEGV_MAPERR,
       "running off a page's end faults at the next page's first byte");
    static const uint16_t back[] = {0x0505, 0x8082}; /* c.addi a0, 1; c.ret */
    memcpy(pages + PAGE - 4, back, sizeof(back));
    flush(pages, PAGE);
    is(call(pages + PAGE - 4, 41), 42, "code at a page's end runs without the next page");
}

int main(void)
{
    test_fence();
    test_self();
    test_protect();
    test_thread(1);
    test_thread(0);
    test_patched_loop();
    test_crossing();
    return tap_done();
}
