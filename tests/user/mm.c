/*
 * Memory: mmap, mremap, mprotect, munmap and brk in their corners, shared files, and what a program
 * learns about itself from /proc and the auxiliary vector.  Checked natively too.
 */
#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/user/tap.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
enum { PAGE = 4096, RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS };

static sigjmp_buf escape;

static void on_fault(int sig)
{
    siglongjmp(escape, sig);
}

/* The signal that reading (or writing) a byte raises, or 0. */
static int touch(volatile char *p, int write)
{
    int sig = sigsetjmp(escape, 1);

    if (sig) {
        return sig;
    }
    if (write) {
        *p = 1;
    } else {
        (void)*p;
    }
    return 0;
}

static char *map(void *at, size_t size, int prot, int flags)
{
    return mmap(at, size, prot, ANON | flags, -1, 0);
}

static void test_mmap(void)
{
    char *a = map(NULL, 8 * PAGE, RW, 0), *b;

    ok(a != MAP_FAILED && !((uintptr_t)a % PAGE), "mmap");
    ok(map(a, PAGE, RW, MAP_FIXED_NOREPLACE) == MAP_FAILED && errno == EEXIST,
       "MAP_FIXED_NOREPLACE over a mapping: EEXIST");
    a[PAGE] = 1;
    munmap(a + PAGE, PAGE);
    is(touch(a + PAGE, 0), SIGSEGV, "a hole faults");
    is(map(a + PAGE, PAGE, RW, MAP_FIXED_NOREPLACE), a + PAGE, "the hole can be filled");
    is(a[PAGE], 0, "with zeroes");
    b = map(a + 2 * PAGE, PAGE, RW, 0);
    ok(b != a + 2 * PAGE && b != MAP_FAILED, "an address that is taken is only a hint");
    munmap(b, PAGE);
    ok(map(NULL, 0, RW, 0) == MAP_FAILED && errno == EINVAL, "length 0: EINVAL");
    ok(map((void *)1, PAGE, RW, MAP_FIXED) == MAP_FAILED && errno == EINVAL,
       "unaligned MAP_FIXED: EINVAL");
    ok(map(NULL, SIZE_MAX - PAGE, RW, 0) == MAP_FAILED && errno == ENOMEM, "too much: ENOMEM");
    ok(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF,
       "a file mapping without a file: EBADF");
    ok(munmap(a + 1, PAGE) == -1 && errno == EINVAL, "unaligned munmap: EINVAL");
    is(munmap(a, 8 * PAGE), 0, "munmap");
    is(munmap(a, 8 * PAGE), 0, "munmap of nothing");

    a = map(NULL, 4 * PAGE, RW, 0);
    memset(a, 7, 4 * PAGE);
    is(mprotect(a + PAGE, PAGE, PROT_READ), 0, "mprotect in the middle");
    ok(touch(a, 1) == 0 && touch(a + PAGE, 0) == 0 && touch(a + PAGE, 1) == SIGSEGV &&
           touch(a + 2 * PAGE + 8, 1) == 0,
       "affects just that page");
    munmap(a + 3 * PAGE, PAGE);
    ok(mprotect(a, 4 * PAGE, RW) == -1 && errno == ENOMEM, "mprotect over a hole: ENOMEM");
    mprotect(a, 3 * PAGE, RW);
    is(madvise(a + PAGE, PAGE, MADV_DONTNEED), 0, "MADV_DONTNEED");
    ok(a[PAGE - 1] == 7 && a[PAGE] == 0 && a[2 * PAGE - 1] == 0 && a[2 * PAGE] == 7,
       "gives zeroes, there only");
    munmap(a, 3 * PAGE);

    a = map(NULL, (size_t)1 << 40, PROT_NONE, MAP_NORESERVE);
    ok(a != MAP_FAILED, "a reservation of 1 TiB");
    if (a != MAP_FAILED) {
        char *middle = a + ((size_t)1 << 39);

        is(touch(middle, 0), SIGSEGV, "is not accessible");
        is(mprotect(middle, PAGE, RW), 0, "a page of it can be opened");
        is(touch(middle, 1), 0, "and written");
        is(munmap(a, (size_t)1 << 40), 0, "all of it can be unmapped");
        is(touch(middle, 0), SIGSEGV, "and is gone");
    }
}

static void test_grows_down(void)
{
    /*
     * Growth stops 256 pages above an accessible mapping, and libraries and emulators map memory
     * whenever they like: what lies inaccessible below keeps them away.
     */
    enum { BELOW = 512, HOLE = 8 };
    char *a = map(NULL, (BELOW + HOLE + 1) * PAGE, PROT_NONE, 0), *top = a + (BELOW + HOLE) * PAGE;

    if (map(top, PAGE, RW, MAP_GROWSDOWN | MAP_FIXED) == MAP_FAILED) {
        ok(0, "MAP_GROWSDOWN");
        return;
    }
    munmap(top - HOLE * PAGE, HOLE * PAGE);
    is(touch(top - 8, 1), 0, "MAP_GROWSDOWN grows by a page below");
    is(touch(top - PAGE - 8, 1), 0, "and by the next");
    munmap(a, (BELOW + HOLE + 1) * PAGE);
}

static void test_mremap(void)
{
    char *a = map(NULL, 4 * PAGE, RW, 0), *b;

    memset(a, 9, 4 * PAGE);
    is(mremap(a, 4 * PAGE, 2 * PAGE, 0), a, "mremap shrinks in place");
    is(touch(a + 2 * PAGE, 0), SIGSEGV, "what was cut is gone");
    is(map(a + 2 * PAGE, PAGE, PROT_READ, MAP_FIXED), a + 2 * PAGE, "something in the way");
    ok(mremap(a, 2 * PAGE, 3 * PAGE, 0) == MAP_FAILED && errno == ENOMEM,
       "it cannot grow in place: ENOMEM");
    b = mremap(a, 2 * PAGE, 16 * PAGE, MREMAP_MAYMOVE);
    ok(b != MAP_FAILED && b != a && b[0] == 9 && b[2 * PAGE - 1] == 9 && b[2 * PAGE] == 0,
       "MREMAP_MAYMOVE keeps the contents");
    is(touch(a, 0), SIGSEGV, "the old place is gone");
    a = map(NULL, 16 * PAGE, PROT_READ, 0);
    is(mremap(b, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a), a, "MREMAP_FIXED");
    ok(a[0] == 9 && touch(a + PAGE, 1) == 0 && touch(b, 0) == SIGSEGV, "replaces what was there");
    ok(mremap(a + 1, PAGE, PAGE, 0) == MAP_FAILED && errno == EINVAL, "unaligned: EINVAL");
    munmap(a, 16 * PAGE);
    ok(mremap(a, PAGE, PAGE * 2, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT,
       "mremap of nothing: EFAULT");
}

static void test_brk(void)
{
    /* The raw call; sbrk's idea of the break is the C library's. */
    char *start = (char *)syscall(SYS_brk, 0), *end;

    end = (char *)syscall(SYS_brk, start + 100 * PAGE);
    is(end, start + 100 * PAGE, "brk grows");
    memset(start, 1, 100 * PAGE);
    end = (char *)syscall(SYS_brk, start + PAGE);
    is(end, start + PAGE, "brk shrinks");
    is(touch(start + 50 * PAGE, 0), SIGSEGV, "what was cut is gone");
    end = (char *)syscall(SYS_brk, start + 100 * PAGE);
    ok(end == start + 100 * PAGE && start[50 * PAGE] == 0, "grown again it is zero");
    is(syscall(SYS_brk, 16), end, "an impossible break is refused and the present one returned");
    is(syscall(SYS_brk, start), start, "back to the start");
}

static void test_files(void)
{
    char name[] = "/tmp/mm-XXXXXX", text[8] = {0};
    int fd = mkstemp(name);
    char *shared, *private;
    pid_t pid;

    unlink(name);
    ok(ftruncate(fd, 2 * PAGE) == 0, "a file of two pages");
    shared = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    private = mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, PAGE);
    ok(pwrite(fd, "hello", 5, PAGE) == 5 && !memcmp(shared + PAGE, "hello", 5),
       "write() is seen in a shared mapping");
    memcpy(shared + PAGE, "jello", 5);
    ok(pread(fd, text, 5, PAGE) == 5 && !memcmp(text, "jello", 5), "a store is seen by read()");
    ok(!memcmp(private, "jello", 5), "and in a private mapping that was not written");
    private[0] = 'c';
    ok(shared[PAGE] == 'j', "a private store stays private");
    if (!(pid = fork())) {
        shared[10] = 'x';
        private[10] = 'x';
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    ok(shared[10] == 'x' && private[10] == 0, "a child shares the one and not the other");
    is(msync(shared, PAGE, MS_SYNC), 0, "msync");
    is(ftruncate(fd, PAGE), 0, "the file is cut");
    is(touch(shared + PAGE, 0), SIGBUS, "the lost page raises SIGBUS");
    close(fd);
    shared[0] = 'y';
    ok(shared[0] == 'y', "the mapping outlives the descriptor");
    fd = open("/proc/self/exe", O_RDONLY);
    ok(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES,
       "a writable shared mapping of a read-only descriptor: EACCES");
    close(fd);
    char *volatile bad = (char *)16; /* volatile: the compiler would warn, rightly */
    ok(write(1, bad, 1) == -1 && errno == EFAULT, "a bad pointer to write(): EFAULT");
    ok(read(open("/dev/zero", O_RDONLY), (void *)test_files, 8) == -1 && errno == EFAULT,
       "read() into read-only memory: EFAULT");
}

/* The maps line that holds `address`; returns its permissions, or NULL. */
static const char *maps_line(const void *address, char *line, int size)
{
    FILE *f = fopen("/proc/self/maps", "r");
    unsigned long lo, hi;
    static char perms[8];

    while (f && fgets(line, size, f)) {
        if (sscanf(line, "%lx-%lx %7s", &lo, &hi, perms) == 3 && (uintptr_t)address >= lo &&
            (uintptr_t)address < hi) {
            fclose(f);
            return perms;
        }
    }
    if (f) {
        fclose(f);
    }
    return NULL;
}

static void test_proc(const char *argv0)
{
    char line[512], exe[512], link[64], *page = map(NULL, PAGE, PROT_READ | PROT_EXEC, 0);
    const char *perms;
    int here, fd;
    ssize_t n;

    perms = maps_line(page, line, sizeof(line));
    ok(perms && !strcmp(perms, "r-xp"), "/proc/self/maps shows an r-x mapping as such");
    perms = maps_line((void *)test_proc, line, sizeof(line));
    ok(perms && perms[2] == 'x' && strstr(line, "/mm"), "our code, under the program's name");
    perms = maps_line(&here, line, sizeof(line));
    ok(perms && !strncmp(perms, "rw", 2) && strstr(line, "[stack]"), "the stack, as [stack]");
    munmap(page, PAGE);
    n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    exe[n < 0 ? 0 : n] = 0;
    ok(n > 0 && strstr(exe, "/mm") && !strstr(exe, "qemu") && !strstr(exe, "tinamou-riscv64"),
       "/proc/self/exe is the program");
    snprintf(link, sizeof(link), "/proc/%d/exe", getpid());
    ok(readlink(link, line, sizeof(line)) == n && !memcmp(line, exe, (size_t)n),
       "/proc/PID/exe says the same");
    fd = open("/proc/self/cmdline", O_RDONLY);
    n = read(fd, line, sizeof(line));
    ok(n == (ssize_t)strlen(argv0) + 1 && !strcmp(line, argv0), "/proc/self/cmdline is argv");
    close(fd);
}

extern char __executable_start[];

static void test_auxv(const char *argv0)
{
    const unsigned char *random = (unsigned char *)getauxval(AT_RANDOM);
    const char *name = (const char *)getauxval(AT_EXECFN);
    const Elf64_Phdr *phdr = (const Elf64_Phdr *)getauxval(AT_PHDR);
    unsigned sum = 0;

    is(getauxval(AT_PAGESZ), PAGE, "AT_PAGESZ");
    is(getauxval(AT_CLKTCK), 100, "AT_CLKTCK");
    is(getauxval(AT_UID), getuid(), "AT_UID");
    is(getauxval(AT_EGID), getegid(), "AT_EGID");
    is(getauxval(AT_SECURE), 0, "AT_SECURE");
    is(getauxval(AT_PHENT), sizeof(Elf64_Phdr), "AT_PHENT");
    ok(getauxval(AT_PHNUM) > 0 && (char *)phdr == __executable_start + sizeof(Elf64_Ehdr),
       "AT_PHDR lies behind the ELF header");
    ok(getauxval(AT_ENTRY) > (uintptr_t)__executable_start, "AT_ENTRY");
    is(getauxval(AT_BASE), 0, "AT_BASE of a static program");
    ok(name && !strcmp(name, argv0), "AT_EXECFN");
    for (int i = 0; random && i < 16; i++) {
        sum |= random[i];
    }
    ok(sum != 0, "AT_RANDOM points at 16 bytes");
#ifdef __riscv
    /* A bit a letter of the base and single-letter extensions; V may or may not be there. */
    const unsigned long gc = 1 << ('i' - 'a') | 1 << ('m' - 'a') | 1 << ('a' - 'a') |
                             1 << ('f' - 'a') | 1 << ('d' - 'a') | 1 << ('c' - 'a');
    is(getauxval(AT_HWCAP) & gc, gc, "AT_HWCAP has IMAFDC");
#endif
}

int main(int argc, char **argv)
{
    struct sigaction sa = {.sa_handler = on_fault};

    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    test_brk();
    test_mmap();
    test_grows_down();
    test_mremap();
    test_files();
    test_proc(argv[0]);
    test_auxv(argv[0]);
    return tap_done();
}
