/* mem/guest: accesses that succeed, and real faults of every kind that become errors. */
#include "mem/guest.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

static volatile unsigned fixed;

static void handler(int signo, siginfo_t *info, void *context)
{
    if (!mem_guest_fixup(signo, info, context)) {
        static const char text[] = "not ok - a fault outside the accesses\n";
        (void)!write(1, text, sizeof(text) - 1);
        _exit(1);
    }
    fixed++;
}

static void single_accesses(uint8_t *page, uint64_t bad)
{
    static const unsigned sizes[] = {1, 2, 4, 8};
    bool loads = true, stores = true, faults = true;

    for (unsigned i = 0; i < 4; i++) {
        unsigned size = sizes[i];
        uint64_t mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * size) - 1;
        uint64_t value = 1, at = mem_guest_address(page + 24 + i);
        int signo = 0, code = 0;

        memset(page, 0xa5, 64);
        loads &= mem_guest_load(at, size, &value, NULL, NULL) == 0 &&
                 value == (0xa5a5a5a5a5a5a5a5 & mask);
        stores &= mem_guest_store(at, size, 0x1122334455667788, &signo, &code) == 0 &&
                  memcmp(page + 24 + i, "\x88\x77\x66\x55\x44\x33\x22\x11", size) == 0 &&
                  page[24 + i + size] == 0xa5 && page[23 + i] == 0xa5;
        faults &= mem_guest_load(bad, size, &value, &signo, &code) == -EFAULT && signo == SIGSEGV &&
                  code == SEGV_ACCERR;
        signo = code = 0;
        faults &= mem_guest_store(bad, size, 0, &signo, &code) == -EFAULT && signo == SIGSEGV &&
                  code == SEGV_ACCERR;
        signo = code = 0;
        faults &= mem_guest_cas(bad, size, 0, 0, &value, &signo, &code) == -EFAULT &&
                  signo == SIGSEGV && code == SEGV_ACCERR;
    }
    tap_ok(loads, "loads of every size, zero-extended, unaligned too");
    tap_ok(stores, "stores of every size touch their bytes only");
    tap_ok(faults, "loads, stores and exchanges of a protected page fail with signal and code");
}

static void exchanges(uint8_t *page)
{
    uint64_t old = 0, at = mem_guest_address(page + 8);

    memset(page, 0, 32);
    page[8] = 0x80;
    tap_ok(mem_guest_cas(at, 1, 0x80, 0x7f, &old, NULL, NULL) == 0 && old == 0x80 &&
               page[8] == 0x7f && page[9] == 0,
           "an exchange that matches stores");
    tap_ok(mem_guest_cas(at, 8, 1, 2, &old, NULL, NULL) == 0 && old == 0x7f && page[8] == 0x7f,
           "an exchange that does not match reports the old value and stores nothing");
}

static void strings(uint8_t *page)
{
    bool right = true;

    memset(page, 'x', PAGE);
    for (unsigned start = 0; start < 17; start++) {
        for (unsigned length = 0; length < 40; length++) {
            memset(page, 'x', 128);
            page[start + length] = 0;
            right &= mem_guest_strlen(mem_guest_address(page + start), 100) == length;
            right &= mem_guest_strlen(mem_guest_address(page + start), length) == length;
            if (length != 0) {
                right &=
                    mem_guest_strlen(mem_guest_address(page + start), length - 1) == -ENAMETOOLONG;
            }
        }
    }
    tap_ok(right, "lengths of strings at every alignment");
    memset(page, 0x80, PAGE);
    page[PAGE - 1] = 0;
    tap_eq(mem_guest_strlen(mem_guest_address(page + 1), PAGE), PAGE - 2,
           "a string of high bytes that ends with the page");
    page[PAGE - 1] = 1;
    tap_eq(mem_guest_strlen(mem_guest_address(page + 100), 2 * PAGE), -EFAULT,
           "a string that runs off the page");
}

static void copies(uint8_t *page)
{
    uint8_t buffer[64];

    for (unsigned i = 0; i < PAGE; i++) {
        page[i] = (uint8_t)(i * 7);
    }
    tap_ok(mem_guest_read(buffer, mem_guest_address(page + 3), 64) == 0 &&
               memcmp(buffer, page + 3, 64) == 0,
           "read copies");
    tap_ok(mem_guest_write(mem_guest_address(page + 500), buffer, 64) == 0 &&
               memcmp(buffer, page + 500, 64) == 0,
           "write copies");
    tap_eq(mem_guest_read(buffer, mem_guest_address(page + PAGE - 10), 11), -EFAULT,
           "a read that leaves the page fails");
    tap_eq(mem_guest_read(buffer, mem_guest_address(page + PAGE - 7), 8), -EFAULT,
           "so does a word across its end");
    tap_eq(mem_guest_write(mem_guest_address(page + PAGE - 10), buffer, 11), -EFAULT,
           "a write that leaves the page fails");
    tap_ok(mem_guest_read(buffer, mem_guest_address(page + PAGE), 0) == 0, "nothing never fails");
    tap_eq(mem_guest_read(buffer, UINT64_C(0x8000000000000000) - mem_guest_base, 4), -EFAULT,
           "an address no program can have");
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    uint8_t *page = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t value = 0;
    int signo = 0, code = 0;

    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
    for (int round = 0; round < 2; round++) {
        mem_guest_base = round == 0 ? 0 : 0x10000;
        tap_note("guest base 0x%llx", (unsigned long long)mem_guest_base);
        single_accesses(page, mem_guest_address(page + PAGE));
        exchanges(page);
        strings(page);
        copies(page);
    }
    munmap(page + PAGE, PAGE);
    tap_ok(mem_guest_load(mem_guest_address(page + PAGE), 4, &value, &signo, &code) == -EFAULT &&
               signo == SIGSEGV && code == SEGV_MAPERR,
           "an unmapped page reports SEGV_MAPERR");
    tap_ok(mem_guest_fault_address() == mem_guest_address(page + PAGE), "and its address");
    bool split = true;
    for (unsigned size = 2; size <= 8; size *= 2) {
        const uint64_t end = mem_guest_address(page + PAGE);
        split &= mem_guest_load(end - 1, size, &value, NULL, NULL) == -EFAULT &&
                 mem_guest_fault_address() == end;
        split &= mem_guest_store(end - size + 1, size, 0, NULL, NULL) == -EFAULT &&
                 mem_guest_fault_address() == end;
    }
    tap_ok(split, "an access that runs into it reports its first byte");
    tap_ok(mem_guest_load(UINT64_C(1) << 60, 4, &value, NULL, NULL) == -EFAULT &&
               mem_guest_fault_address() == UINT64_C(1) << 60,
           "an address that is not canonical is reported as it is");

    int fd = memfd_create("empty", 0);
    (void)!ftruncate(fd, PAGE);
    void *file = mmap(page + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
    (void)!ftruncate(fd, 0);
    tap_ok(mem_guest_load(mem_guest_address(file), 4, &value, &signo, &code) == -EFAULT &&
               signo == SIGBUS && code == BUS_ADRERR,
           "a page behind the end of its file reports SIGBUS");
    tap_ok(fixed > 30, "each of these was a real fault (%u)", fixed);
    return tap_done();
}
