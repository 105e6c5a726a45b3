/* util/disas: x86-64 text, bad bytes, truncation; and honesty where there is no disassembler. */
#include "util/disas.h"

#include "build/config.h"
#include "tests/unit/tap.h"
#include "util/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static char captured[4096];

static const char *logged(const void *code, size_t len, enum disas_arch arch)
{
    char path[] = "/tmp/tinamou-disas-XXXXXX";
    int fd = mkstemp(path);
    ssize_t n;

    log_open(path);
    disas_log(arch, code, len, 0x1000);
    n = pread(fd, captured, sizeof(captured) - 1, 0);
    captured[n > 0 ? n : 0] = '\0';
    close(fd);
    unlink(path);
    return captured;
}

static void check_x86(void)
{
    static const unsigned char code[] = {0x48, 0x89, 0xc8, 0x06, 0xe8, 0xfb, 0xff, 0xff, 0xff};
    char text[DISAS_TEXT_MAX];
    const char *log;

    tap_eq(disas_one(DISAS_X86_64, code, sizeof(code), 0x1000, text, sizeof(text)), 3,
           "length of an instruction");
    tap_str(text, "mov rax, rcx", "its text");
    tap_eq(disas_one(DISAS_X86_64, code + 4, 5, 0x1004, text, sizeof(text)), 5, "a call");
    tap_str(text, "call 0x1004", "has an absolute target");
    tap_eq(disas_one(DISAS_X86_64, code + 3, 1, 0x1003, text, sizeof(text)), 0,
           "an opcode that is none");
    tap_str(text, ".byte 0x06", "is shown as a byte");
    tap_eq(disas_one(DISAS_X86_64, code, 2, 0x1000, text, sizeof(text)), 0,
           "a truncated instruction is none");
    tap_eq(disas_one(DISAS_X86_64, code, 3, 0x1000, text, 4), 3, "a short buffer");
    tap_str(text, "mov", "is not overrun");

    tap_eq(disas_one(DISAS_X86_32, code, 1, 0x1000, text, sizeof(text)), 1,
           "in 32-bit code a REX prefix");
    tap_str(text, "dec eax", "is an instruction");
    tap_eq(disas_one(DISAS_X86_16, code + 4, 3, 0x1004, text, sizeof(text)), 3,
           "in 16-bit code a call");
    tap_str(text, "call 0x1002", "has two bytes of displacement");

    log = logged(code, sizeof(code), DISAS_X86_64);
    tap_ok(strstr(log, "0x000000001000:  48 89 c8") && strstr(log, "mov rax, rcx\n"),
           "the log has address, bytes and text");
    tap_ok(strstr(log, ".byte 0x06\n") && strstr(log, "call 0x1004\n"),
           "and goes on behind a bad byte");
    disas_after_fork();
    tap_ok(disas_available(DISAS_X86_64), "usable after fork");
}

int main(void)
{
    static const unsigned char add[] = {0x33, 0x85, 0xa5, 0x00};
    char text[DISAS_TEXT_MAX];

    tap_eq(disas_available(DISAS_X86_64), CONFIG_CAPSTONE, "x86-64 is known with capstone");
    tap_eq(disas_available(DISAS_RISCV64), CONFIG_CAPSTONE_RISCV, "RISC-V if capstone knows it");
    if (disas_available(DISAS_X86_64)) {
        check_x86();
    } else {
        tap_eq(disas_one(DISAS_X86_64, add, 4, 0, text, sizeof(text)), 0, "no length");
        tap_ok(strstr(text, "no disas") || strstr(text, "no disassembly"), "and the text says why");
    }
    if (disas_available(DISAS_RISCV64)) {
        tap_eq(disas_one(DISAS_RISCV64, add, 4, 0, text, sizeof(text)), 4, "a RISC-V add");
        tap_str(text, "add a0, a1, a0", "its text");
    } else {
        tap_ok(strstr(logged(add, 4, DISAS_RISCV64), "33 85 a5 00") != NULL,
               "bytes are logged all the same");
    }
    return tap_done();
}
