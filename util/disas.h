/*
 * Machine code to text, by capstone, for logs and --explain.
 *
 * A library without capstone (--disable-capstone), or one that does not know an architecture,
 * prints the bytes and says so. Guests' instructions have their text from the decode tables of
 * target/; capstone's RISC-V is for checking these where the host's version has it.
 *
 * Callable from any thread: one lock, and memory of its own from mmap rather than the heap.
 */
#ifndef TINAMOU_UTIL_DISAS_H
#define TINAMOU_UTIL_DISAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum disas_arch {
    DISAS_X86_64,  /* Intel syntax, here and in the next two */
    DISAS_X86_32,  /* 32-bit code: protected and compatibility mode */
    DISAS_X86_16,  /* 16-bit code: real mode and the like */
    DISAS_RISCV64, /* with compressed instructions */
};

#define DISAS_TEXT_MAX 224 /* bytes that hold the text of any instruction */

/* Can instructions of this architecture be disassembled at all? */
bool disas_available(enum disas_arch arch);

/*
 * The text of the instruction at code, of which len bytes may be read and which runs at addr, into
 * text (size bytes, always terminated). Returns its length in bytes, or 0 when it is not one or
 * disas_available() is false; text is then a .byte directive or says what is missing.
 */
size_t disas_one(enum disas_arch arch, const void *code, size_t len, uint64_t addr, char *text,
                 size_t size);

/*
 * Logs len bytes of code that run at addr, a line an instruction: address, bytes, text. What is
 * not an instruction is logged as .byte, and decoding goes on behind it.
 */
void disas_log(enum disas_arch arch, const void *code, size_t len, uint64_t addr);

/* In a fork child: another thread of the parent may have been in here. */
void disas_after_fork(void);

#endif
