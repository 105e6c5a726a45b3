/* A bytecode interpreter with function pointers: an indirect call and a return per bytecode. */
#include "tests/bench/bench.h"

struct vm {
    uint64_t *sp;
    uint64_t vars[3];
    long pc; /* index into the program; negative: halted */
    uint64_t stack[16];
};
enum { X, I, N };

static void op_push(struct vm *vm, int64_t arg)
{
    *vm->sp++ = (uint64_t)arg;
}

static void op_load(struct vm *vm, int64_t arg)
{
    *vm->sp++ = vm->vars[arg];
}

static void op_store(struct vm *vm, int64_t arg)
{
    vm->vars[arg] = *--vm->sp;
}

static void op_add(struct vm *vm, int64_t arg)
{
    vm->sp--;
    vm->sp[-1] += vm->sp[0];
}

static void op_mul(struct vm *vm, int64_t arg)
{
    vm->sp--;
    vm->sp[-1] *= vm->sp[0];
}

static void op_xor(struct vm *vm, int64_t arg)
{
    vm->sp--;
    vm->sp[-1] ^= vm->sp[0];
}

static void op_shr(struct vm *vm, int64_t arg)
{
    vm->sp--;
    vm->sp[-1] >>= vm->sp[0];
}

static void op_dup(struct vm *vm, int64_t arg)
{
    vm->sp[0] = vm->sp[-1];
    vm->sp++;
}

static void op_less(struct vm *vm, int64_t arg)
{
    vm->sp--;
    vm->sp[-1] = vm->sp[-1] < vm->sp[0];
}

static void op_jump_if(struct vm *vm, int64_t arg)
{
    if (*--vm->sp) {
        vm->pc = arg;
    }
}

static void op_halt(struct vm *vm, int64_t arg)
{
    vm->pc = -1;
}

static const struct insn {
    void (*run)(struct vm *vm, int64_t arg);
    int64_t arg;
} program[] = {
    {op_push, 0},  {op_store, I}, {op_load, X}, {op_push, 6364136223846793005},
    {op_mul, 0},   {op_load, I},  {op_add, 0},  {op_dup, 0},
    {op_push, 17}, {op_shr, 0},   {op_xor, 0},  {op_store, X},
    {op_load, I},  {op_push, 1},  {op_add, 0},  {op_store, I},
    {op_load, I},  {op_load, N},  {op_less, 0}, {op_jump_if, 2},
    {op_halt, 0},
};

static uint64_t __attribute__((noinline)) run(uint64_t seed, uint64_t n)
{
    struct vm vm = {.vars = {seed, 0, n}};

    vm.sp = vm.stack;
    while (vm.pc >= 0) {
        const struct insn *insn = &program[vm.pc++];

        insn->run(&vm, insn->arg);
    }
    return vm.vars[X];
}

int main(int argc, char **argv)
{
    uint64_t hash = 0;
    long rounds = bench_count(argc, argv, 145);

    for (long r = 0; r < rounds; r++) {
        hash = bench_mix(hash, run((uint64_t)r, 150000));
    }
    bench_print_bits(hash);
    return 0;
}
