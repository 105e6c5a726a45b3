/* A bytecode interpreter with a switch: one indirect jump through a table per bytecode. */
#include "tests/bench/bench.h"

enum op { PUSH, LOAD, STORE, ADD, MUL, XOR, SHR, DUP, LESS, JUMP_IF, HALT };
enum { X, I, N };

struct insn {
    enum op op;
    int64_t arg;
};

/* i = 0; do { x = x * 6364136223846793005 + i; x ^= x >> 17; i = i + 1; } while (i < n) */
static struct insn program[] = {
    {PUSH, 0},  {STORE, I}, /* 0 */
    {LOAD, X},  {PUSH, 6364136223846793005},
    {MUL, 0},   {LOAD, I}, /* 2 */
    {ADD, 0},   {DUP, 0},
    {PUSH, 17}, {SHR, 0},
    {XOR, 0},   /* 6 */
    {STORE, X}, /* 11 */
    {LOAD, I},  {PUSH, 1},
    {ADD, 0},   {STORE, I}, /* 12 */
    {LOAD, I},  {LOAD, N},
    {LESS, 0},  {JUMP_IF, 2}, /* 16 */
    {HALT, 0},
};

static uint64_t __attribute__((noinline)) run(uint64_t seed, uint64_t n)
{
    uint64_t stack[16], vars[3] = {seed, 0, n};
    uint64_t *sp = stack;
    const struct insn *pc = program;

    for (;;) {
        const struct insn *insn = pc++;

        switch (insn->op) {
        case PUSH:
            *sp++ = (uint64_t)insn->arg;
            break;
        case LOAD:
            *sp++ = vars[insn->arg];
            break;
        case STORE:
            vars[insn->arg] = *--sp;
            break;
        case ADD:
            sp--;
            sp[-1] += sp[0];
            break;
        case MUL:
            sp--;
            sp[-1] *= sp[0];
            break;
        case XOR:
            sp--;
            sp[-1] ^= sp[0];
            break;
        case SHR:
            sp--;
            sp[-1] >>= sp[0];
            break;
        case DUP:
            sp[0] = sp[-1];
            sp++;
            break;
        case LESS:
            sp--;
            sp[-1] = sp[-1] < sp[0];
            break;
        case JUMP_IF:
            if (*--sp) {
                pc = program + insn->arg;
            }
            break;
        case HALT:
            return vars[X];
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t hash = 0;
    long rounds = bench_count(argc, argv, 580);

    for (long r = 0; r < rounds; r++) {
        hash = bench_mix(hash, run((uint64_t)r, 150000));
    }
    bench_print_bits(hash);
    return 0;
}
