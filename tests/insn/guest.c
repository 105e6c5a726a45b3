/*
 * Text: the start and main loop, then for each keeper a routine that loads the registers and one
 * that stores them, then the common end, the signal handler, and the blocks. All of it is straight
 * code made with asm.h; labels are the addresses that the emitter has reached.
 *
 * The handler does not return by sigreturn: it copies the interrupted state out of the ucontext
 * into the record and goes on with the main loop, which loads everything anew. SA_NODEFER keeps the
 * signal deliverable, and the alternate stack makes it so whatever sp holds.
 */
#include "tests/insn/guest.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "target/riscv/decode.h"
#include "tests/insn/asm.h"

/* Variables behind the record and scratch area, as offsets from GUEST_STATE. */
enum {
    VAR_ENTRY = 256,
    VAR_SAVE = 264,
    VAR_RUN = 272,
    VAR_SC = 280,
    VAR_NEXT = 288,
    VAR_SS = 320,
    VAR_ACTION = 352
};
enum { STACK_OFFSET = 8192, STACK_SIZE = 65536, STATE_SIZE = 4096 + STACK_OFFSET + STACK_SIZE };

/* struct sigcontext of RISC-V Linux, from the start of ucontext: pc and x1..x31, f0..f31, fcsr. */
enum { UC_X = 176, UC_F = UC_X + 256, UC_FCSR = UC_F + 256 };

enum { SYS_EXIT = 93, SYS_WRITE = 64, SYS_SIGALTSTACK = 132, SYS_RT_SIGACTION = 134 };
enum { ZERO, RA, T0 = 5, T1, S0 = 8, S1, A0, A1, A2, A3, A4, A7 = 17 };

struct descriptor {
    uint64_t entry, load, save, image;
};

struct guest {
    uint8_t *text;
    size_t text_size, text_room;
    struct descriptor *runs;
    size_t run_count, run_room;
    uint64_t load[32], save[32], start, handler;
    uint64_t base; /* of the address map */
};

static void *grow(void *old, size_t size)
{
    void *p = realloc(old, size);

    if (p == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return p;
}

uint64_t guest_here(const struct guest *g)
{
    return g->base + GUEST_TEXT + g->text_size;
}

void guest_emit(struct guest *g, uint32_t bits)
{
    unsigned length = rv_length(bits);

    if (g->text_size + 4 > g->text_room) {
        g->text_room = g->text_room * 2 + 65536;
        g->text = grow(g->text, g->text_room);
    }
    memcpy(g->text + g->text_size, &bits, length);
    g->text_size += length;
}

void guest_emit_state(struct guest *g, unsigned reg)
{
    guest_emit(g, ASM_LUI(reg, g->base + GUEST_STATE));
    if (g->base != 0) {
        guest_emit(g, ASM_ZEXT_W(reg, reg));
    }
}

/* A register of the two that is not the keeper. */
static unsigned other(unsigned keeper, unsigned first, unsigned second)
{
    return keeper == first ? second : first;
}

void guest_emit_end(struct guest *g, unsigned keeper)
{
    unsigned t = other(keeper, RA, T0);

    guest_emit(g, ASM_SD(t, GUEST_X + 8 * (int)t, keeper));
    guest_emit(g, ASM_LD(t, VAR_SAVE, keeper));
    guest_emit(g, ASM_JALR(0, 0, t));
}

void guest_add_run(struct guest *g, struct guest_run run)
{
    if (g->run_count == g->run_room) {
        g->run_room = g->run_room * 2 + 1024;
        g->runs = grow(g->runs, g->run_room * sizeof(*g->runs));
    }
    g->runs[g->run_count++] = (struct descriptor){
        run.entry, g->load[run.keeper], g->save[run.keeper],
        g->base + GUEST_DATA + (uint64_t)run.image * sizeof(struct guest_image)};
}

/* Patches the jump or branch at `at` to go here. */
static void land(struct guest *g, size_t at)
{
    int distance = (int)(g->text_size - at);
    uint32_t bits;

    memcpy(&bits, g->text + at, 4);
    bits |= (bits & 127) == 0x6f ? asm_imm_j(distance) : asm_imm_b(distance);
    memcpy(g->text + at, &bits, 4);
}

static void jump_back(struct guest *g, uint64_t to)
{
    guest_emit(g, ASM_JAL(0, (int)(to - guest_here(g))));
}

static void emit_call(struct guest *g, int number)
{
    guest_emit(g, ASM_ADDI(A7, 0, number));
    guest_emit(g, ASM_ECALL);
}

/* Alternate stack and signal handlers. Then the main loop's first run. */
static void emit_start(struct guest *g)
{
    static const uint8_t signals[] = {4, 5, 7, 8, 11}; /* ILL TRAP BUS FPE SEGV */

    g->start = guest_here(g);
    guest_emit_state(g, S0);
    guest_emit(g, ASM_ADDI(A0, S0, VAR_SS));
    guest_emit(g, ASM_ADDI(A1, 0, 0));
    emit_call(g, SYS_SIGALTSTACK);
    for (unsigned n = 0; n < sizeof(signals); n++) {
        guest_emit(g, ASM_ADDI(A0, 0, signals[n]));
        guest_emit(g, ASM_ADDI(A1, S0, VAR_ACTION));
        guest_emit(g, ASM_ADDI(A2, 0, 0));
        guest_emit(g, ASM_ADDI(A3, 0, 8));
        emit_call(g, SYS_RT_SIGACTION);
    }
}

/* Takes the next run, or exits; loads scratch area, fcsr and f registers, and jumps to the routine
 * for the run's keeper with the image's address in t0 and t1. */
static uint64_t emit_main(struct guest *g)
{
    uint64_t start = guest_here(g);
    size_t more;

    guest_emit_state(g, S0);
    guest_emit(g, ASM_LD(S1, VAR_RUN, S0));
    guest_emit(g, ASM_LD(A0, offsetof(struct descriptor, entry), S1));
    more = g->text_size;
    guest_emit(g, ASM_BNE(A0, 0, 0));
    emit_call(g, SYS_EXIT);
    land(g, more);
    guest_emit(g, ASM_SD(A0, VAR_ENTRY, S0));
    guest_emit(g, ASM_LD(A1, offsetof(struct descriptor, save), S1));
    guest_emit(g, ASM_SD(A1, VAR_SAVE, S0));
    guest_emit(g, ASM_LD(T0, offsetof(struct descriptor, image), S1));
    guest_emit(g, ASM_ADDI(T1, T0, 0));
    guest_emit(g, ASM_LD(A2, offsetof(struct descriptor, load), S1));
    guest_emit(g, ASM_ADDI(S1, S1, sizeof(struct descriptor)));
    guest_emit(g, ASM_SD(S1, VAR_RUN, S0));
    guest_emit(g, ASM_LD(A1, GUEST_RUN, S0));
    guest_emit(g, ASM_ADDI(A1, A1, 1));
    guest_emit(g, ASM_SD(A1, GUEST_RUN, S0));
    guest_emit(g, ASM_SD(0, GUEST_X, S0));
    guest_emit(g, ASM_SD(0, GUEST_SIGNAL, S0));
    guest_emit(g, ASM_SD(0, GUEST_SIGADDR, S0));
    for (int n = 0; n < GUEST_SCRATCH; n += 8) {
        guest_emit(g, ASM_LD(A3, (int)offsetof(struct guest_image, scratch) + n, T0));
        guest_emit(g, ASM_SD(A3, GUEST_SCRATCH_START + n, S0));
    }
    for (int n = 0; n < 32; n++) {
        guest_emit(g, ASM_FLD((unsigned)n, (int)offsetof(struct guest_image, f) + 8 * n, T0));
    }
    guest_emit(g, ASM_LD(A3, offsetof(struct guest_image, fcsr), T0));
    guest_emit(g, ASM_CSRW(3, A3));
    /* No reservation is left over from the block before. */
    guest_emit(g, ASM_ADDI(A3, S0, VAR_SC));
    guest_emit(g, ASM_SC_W(A4, 0, A3));
    guest_emit(g, ASM_JALR(0, 0, A2));
    return start;
}

static void emit_load(struct guest *g, unsigned keeper)
{
    unsigned image = other(keeper, T0, T1);

    g->load[keeper] = guest_here(g);
    guest_emit_state(g, keeper);
    guest_emit(g, ASM_LD(keeper, VAR_ENTRY, keeper));
    for (unsigned n = 1; n < 32; n++) {
        if (n != keeper && n != image) {
            guest_emit(g, ASM_LD(n, 8 * (int)n, image));
        }
    }
    guest_emit(g, ASM_LD(image, 8 * (int)image, image));
    guest_emit(g, ASM_JALR(0, 0, keeper));
}

/* Returns where its jump to the common end is. */
static size_t emit_save(struct guest *g, unsigned keeper)
{
    g->save[keeper] = guest_here(g);
    for (unsigned n = 1; n < 32; n++) {
        if (n != other(keeper, RA, T0)) {
            guest_emit(g, ASM_SD(n, GUEST_X + 8 * (int)n, keeper));
        }
    }
    guest_emit(g, ASM_ADDI(S0, keeper, 0));
    guest_emit(g, ASM_JAL(0, 0));
    return g->text_size - 4;
}

/* The handler's copying; falls through to the write. */
static void emit_handler(struct guest *g)
{
    g->handler = guest_here(g);
    guest_emit_state(g, S0);
    guest_emit(g, ASM_SW(A0, GUEST_SIGNAL, S0));
    guest_emit(g, ASM_LW(A3, 8, A1));
    guest_emit(g, ASM_SW(A3, GUEST_SIGNAL + 4, S0));
    guest_emit(g, ASM_LD(A3, 16, A1));
    guest_emit(g, ASM_SD(A3, GUEST_SIGADDR, S0));
    for (int n = 0; n < 64; n++) {
        guest_emit(g, ASM_LD(A3, UC_X + 8 * n, A2));
        guest_emit(g, ASM_SD(A3, GUEST_X + 8 * n, S0));
    }
    guest_emit(g, ASM_LW(A3, UC_FCSR, A2));
    guest_emit(g, ASM_SD(A3, GUEST_FCSR, S0));
}

struct guest *guest_new(bool high)
{
    struct guest *g = calloc(1, sizeof(*g));
    size_t jumps[32], written;
    uint64_t main_loop;

    if (g == NULL) {
        return NULL;
    }
    g->base = high ? GUEST_HIGH : 0;
    emit_start(g);
    main_loop = emit_main(g);
    for (unsigned k = 1; k < 32; k++) {
        emit_load(g, k);
        jumps[k] = emit_save(g, k);
    }
    for (unsigned k = 1; k < 32; k++) {
        land(g, jumps[k]);
    }
    for (int n = 0; n < 32; n++) {
        guest_emit(g, ASM_FSD((unsigned)n, GUEST_F + 8 * n, S0));
    }
    guest_emit(g, ASM_CSRR(A3, 3));
    guest_emit(g, ASM_SD(A3, GUEST_FCSR, S0));
    written = g->text_size;
    guest_emit(g, ASM_JAL(0, 0));
    emit_handler(g);
    land(g, written);
    guest_emit(g, ASM_ADDI(A0, 0, 1));
    guest_emit(g, ASM_ADDI(A1, S0, GUEST_RECORD));
    guest_emit(g, ASM_ADDI(A2, 0, GUEST_RECORD_SIZE));
    emit_call(g, SYS_WRITE);
    jump_back(g, main_loop);
    return g;
}

void guest_free(struct guest *g)
{
    free(g->text);
    free(g->runs);
    free(g);
}

static bool put(FILE *f, long offset, const void *data, size_t size)
{
    return fseek(f, offset, SEEK_SET) == 0 && fwrite(data, 1, size, f) == size;
}

int guest_write(const struct guest *g, const char *path, const struct guest_image *images,
                unsigned image_count)
{
    static const struct descriptor end;
    size_t images_size = image_count * sizeof(*images), runs_size = g->run_count * sizeof(end);
    size_t text_offset = 4096, data_offset = (text_offset + g->text_size + 4095) & ~(size_t)4095;
    size_t data_size = images_size + runs_size + sizeof(end);
    size_t state_offset = (data_offset + data_size + 4095) & ~(size_t)4095;
    uint64_t text_address = g->base + GUEST_TEXT, data_address = g->base + GUEST_DATA;
    uint64_t state_address = g->base + GUEST_STATE, state[4096 / 8] = {0};
    Elf64_Ehdr header = {
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_RISCV,
        .e_version = EV_CURRENT,
        .e_entry = g->start,
        .e_phoff = sizeof(header),
        .e_flags = 5, /* compressed instructions, double-float ABI */
        .e_ehsize = sizeof(header),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 3,
    };
    Elf64_Phdr segments[3] = {
        {PT_LOAD, PF_R | PF_X, text_offset, text_address, text_address, g->text_size, g->text_size,
         4096},
        {PT_LOAD, PF_R, data_offset, data_address, data_address, data_size, data_size, 4096},
        {PT_LOAD, PF_R | PF_W, state_offset, state_address - 4096, state_address - 4096, 8192,
         STATE_SIZE, 4096},
    };
    FILE *f = fopen(path, "wb");
    bool good;

    if (f == NULL) {
        return -errno;
    }
    state[VAR_RUN / 8] = data_address + images_size;
    /* stack_t: address, flags, size. */
    state[VAR_SS / 8] = state_address + STACK_OFFSET - 4096;
    state[VAR_SS / 8 + 2] = STACK_SIZE;
    /* struct sigaction: handler, SA_SIGINFO | SA_ONSTACK | SA_NODEFER, mask. */
    state[VAR_ACTION / 8] = g->handler;
    state[VAR_ACTION / 8 + 1] = 0x48000004;
    good = put(f, 0, &header, sizeof(header)) &&
           put(f, sizeof(header), segments, sizeof(segments)) &&
           put(f, (long)text_offset, g->text, g->text_size) &&
           put(f, (long)data_offset, images, images_size) &&
           put(f, (long)(data_offset + images_size), g->runs, runs_size) &&
           put(f, (long)(data_offset + images_size + runs_size), &end, sizeof(end)) &&
           put(f, (long)state_offset + 4096, state, sizeof(state));
    good = fclose(f) == 0 && good;
    good = good && chmod(path, 0755) == 0;
    return good ? 0 : errno != 0 ? -errno : -EIO;
}
