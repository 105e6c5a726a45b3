/*
 * The x86-64 back end's inside: one pass over the unit, allocating registers and emitting as it
 * goes.
 *
 * Registers. rbp points into the vCPU state (bias bytes behind its start, so that most homes have
 * one-byte displacements), rsp is the shadow stack. rax, rcx, rdx are scratch between units; the
 * eleven others are pinned to the best-ranked integer globals. xmm15 is the emitter's own
 * temporary, xmm13 and xmm14 are scratch between units, the rest is pinned. Within a unit every one
 * of them but rsp, rbp and xmm15 is allocated freely; a value that goes to a pinned global prefers
 * its register.
 *
 * Values. A value is in a register, or in memory, or both. Its memory is a spill slot, or the home
 * of the global whose current value it is (invariant: mem == VAL_HOME implies map[global] ==
 * value). Constants live nowhere and are made where they are used. Entry values of globals are
 * values too, numbered behind the unit's ops.
 *
 * Order. Blocks are taken in order; a cold block that only leaves the unit is emitted at its branch
 * into the cold buffer, with the allocation as it is there, and leaves no trace in it. A block with
 * several predecessors starts with all live values in memory. Positions number the main line's ops;
 * liveness (live.c) speaks in positions.
 */
#ifndef TINAMOU_JIT_X86_64_COMPILE_H
#define TINAMOU_JIT_X86_64_COMPILE_H

#include "jit/jit.h"
#include "jit/side.h"
#include "jit/x86_64/asm.h"
#include "jit/x86_64/features.h"
#include "jit/x86_64/x86_64.h"

enum { REG_NONE = -1, REG_FP = 16, REG_COUNT = 32, REG_STATE = RBP, XMM_TEMP = 31 };

#define REG_BIT(r)  (1u << (r))
#define GPR_SCRATCH (REG_BIT(RAX) | REG_BIT(RCX) | REG_BIT(RDX))
#define GPR_ALL     (0xffffu & ~(REG_BIT(RSP) | REG_BIT(RBP)))
#define FPR_ALL     (0x7fffu << REG_FP)
/* What a C function may change. */
#define GPR_VOLATILE                                                                        \
    (GPR_SCRATCH | REG_BIT(RSI) | REG_BIT(RDI) | REG_BIT(R8) | REG_BIT(R9) | REG_BIT(R10) | \
     REG_BIT(R11))

enum { X86_FLAG_TABLE_BACK = 64 }; /* offset of the second part of JIT_THUNK_FLAG_TABLE */

enum val_mem { VAL_NOWHERE, VAL_SPILL, VAL_HOME };

struct val {
    uint32_t last_use; /* position; 0: never */
    uint32_t alias;    /* the value whose register holds this one too; mostly itself */
    int8_t reg;        /* REG_NONE, 0..15, REG_FP + 0..15 */
    int8_t hint;       /* preferred register, or REG_NONE */
    uint8_t mem;       /* enum val_mem */
    uint8_t slot;      /* spill slot (VAL_SPILL) */
    uint8_t global;    /* the global it was last set to, or IR_NO_GLOBAL; its home where VAL_HOME */
    uint8_t uses;      /* by ops, saturating */
    bool strong : 1;   /* the hint is where a gset wants it, not just where a user's result goes */
    bool dead : 1;     /* nobody wants it, or its only user emits it: not emitted by itself */
    bool part : 1;     /* live.c: an address that its users could do without */
    bool plain : 1;    /* live.c: somebody needs it in a register or in memory */
    bool fused : 1;    /* a part of its users' memory operands; dead */
    bool even : 1;     /* and x, -2 that only a lookup uses: masked there where it matters */
    bool nan_test : 1; /* fcmp eq x, x that only decides a callif: tested there */
};

struct seq {
    ir_ref ref;
    uint32_t pos;
    uint32_t block : 31;
    uint32_t side : 1; /* of a cold block that is emitted at the branch to it */
};

struct fixup {
    uint32_t at; /* displacement in the main or cold buffer */
    uint32_t to; /* offset in the main or cold buffer */
    bool at_cold, to_cold;
};

struct undo {
    ir_ref ref;
    struct val val;
};

struct x86_compiler {
    const struct ir_unit *unit;
    const struct ir_target *target;
    const struct jit_layout *layout;
    const struct jit_options *options;
    const struct jit_x86_features *feat;
    struct jit_code *out;
    int32_t bias;

    struct x86_asm main, cold, *a;

    struct val *val;
    uint32_t val_cap, val_count;
    struct seq *seq;
    uint32_t seq_count, seq_cap;
    uint32_t *looks; /* live.c's own */
    uint32_t looks_cap;
    uint32_t last_pos;
    uint32_t *order; /* blocks, where joins */
    uint32_t order_cap;
    bool joins; /* some block has several predecessors */

    uint32_t pos;
    uint32_t live_from; /* a value whose last use is before is dead: pos, but pos + 1 where the op
                         * has looked at the globals and only its result is still to be placed */
    uint32_t locked;    /* registers that this op needs */
    ir_ref owner[REG_COUNT];
    ir_ref map[IR_MAX_GLOBALS];
    uint64_t slots; /* free spill slots */
    int8_t pin[IR_MAX_GLOBALS];
    struct val entry_vals[IR_MAX_GLOBALS]; /* of the globals, as they are at the entry */
    uint32_t entry_rec[IR_MAX_GLOBALS];    /* likewise for rec */
    uint64_t pinned[IR_MAX_GLOBALS / 64];

    uint64_t active[IR_MAX_GLOBALS / 64]; /* globals that may be elsewhere than at the entry */
    uint32_t rec[IR_MAX_GLOBALS];         /* place last written to the side table */
    uint32_t rec_offset;
    uint32_t rec_at; /* of the last mark's offset field, in out->side */
    uint64_t rec_pc;
    bool rec_reset;
    uint64_t insn_pc;

    bool failed;                      /* out of spill slots */
    uint32_t compare_at, compare_end; /* the last comparison ... */
    const struct x86_asm *compare_in; /* ... and its buffer */
    bool in_cold;
    uint32_t cold_from, cold_start; /* displacement that leads to the cold piece; where it starts */
    uint32_t
        nested_over; /* not 0: displacement of the jump over a cold piece within a cold block */
    struct undo *undo;
    uint32_t undo_count, undo_cap;
    struct fixup *fixups;
    uint32_t fixup_count, fixup_cap;
    struct x86_block *blocks; /* join.c */
    uint32_t block_cap;
    struct fixup *pending; /* jumps to blocks */
    uint32_t pending_count, pending_cap;

    /* emit-tlb.c: what the last probe has found serves further accesses through the same base */
    struct {
        int reg; /* holds the addend, or 0 if the probe failed; REG_NONE: nothing is remembered */
        ir_ref base;
        int32_t first, last; /* displacements from the first byte to the last that are good */
        bool store;          /* and for stores as well */
    } page;
    uint32_t at; /* index into seq of the op being emitted */

    ir_ref saved_owner[REG_COUNT]; /* of the main line while a cold block is emitted */
    ir_ref saved_map[IR_MAX_GLOBALS];
    uint32_t saved_locked;
    uint64_t saved_slots;
};

/* live.c: fills seq, and alias, last_use, hint and dead of every value. */
void x86_liveness(struct x86_compiler *c);

/* Entry value of a global. */
static inline ir_ref x86_entry(const struct x86_compiler *c, unsigned global)
{
    return c->unit->ins_count + global;
}

/* The value whose register holds `ref`: looks through trunc, and through zext of what is already
 * zero-extended. */
static inline ir_ref x86_resolve(const struct x86_compiler *c, ir_ref ref)
{
    return c->val[ref].alias;
}

static inline const struct ir_ins *x86_ins(const struct x86_compiler *c, ir_ref ref)
{
    return &c->unit->ins[ref];
}

static inline bool x86_is_fp(const struct x86_compiler *c, ir_ref ref)
{
    unsigned type = ref < c->unit->ins_count ? c->unit->ins[ref].type
                                             : c->target->globals[ref - c->unit->ins_count].type;
    return type == IR_F32 || type == IR_F64;
}

/* Whether ref is a constant; *value its (sign-extended) bits. */
static inline bool x86_const(const struct x86_compiler *c, ir_ref ref, int64_t *value)
{
    if (ref >= c->unit->ins_count || c->unit->ins[ref].op != IR_const) {
        return false;
    }
    *value = c->unit->ins[ref].imm;
    return true;
}

static inline bool x86_const32(const struct x86_compiler *c, ir_ref ref, int32_t *value)
{
    int64_t v;
    if (!x86_const(c, ref, &v) || v != (int32_t)v) {
        return false;
    }
    *value = (int32_t)v;
    return true;
}

static inline struct x86_mem x86_state(const struct x86_compiler *c, uint32_t offset)
{
    return x86_mem(REG_STATE, (int32_t)offset - c->bias);
}

static inline struct x86_mem x86_home(const struct x86_compiler *c, unsigned global)
{
    return x86_state(c, c->target->globals[global].offset);
}

static inline struct x86_mem x86_slot(const struct x86_compiler *c, unsigned slot)
{
    return x86_state(c, c->layout->spill + 8 * slot);
}

/* alloc.c. All take resolved refs. */
struct val *x86_val(struct x86_compiler *c,
                    ir_ref ref); /* for writing: remembers the old one in cold blocks */
void x86_init_target(struct x86_compiler *c); /* once a target */
void x86_init_regs(struct x86_compiler *c);
int x86_use(struct x86_compiler *c, ir_ref ref); /* in some register, which is locked */
int x86_use_in(struct x86_compiler *c, ir_ref ref,
               int reg); /* in that very register (a copy may stay elsewhere), locked */
bool x86_in_memory(struct x86_compiler *c, ir_ref ref,
                   struct x86_mem *mem);                 /* no register, but memory */
bool x86_dies(const struct x86_compiler *c, ir_ref ref); /* no use after this op */
int x86_def(struct x86_compiler *c, ir_ref ref);         /* a register for the result, locked */
int x86_def_tied(struct x86_compiler *c, ir_ref ref,
                 ir_ref from); /* that already holds a copy of `from` */
void x86_def_in(struct x86_compiler *c, ir_ref ref,
                int reg);                        /* the result is in that (evicted) register */
int x86_temp(struct x86_compiler *c, bool fp);   /* a register for this op alone, locked */
void x86_evict(struct x86_compiler *c, int reg); /* makes it empty; its value moves or is spilled */
void x86_take(struct x86_compiler *c, int reg);  /* evict and lock */
void x86_spill(struct x86_compiler *c, int reg); /* makes it empty by way of memory */
void x86_load_value(struct x86_compiler *c, ir_ref ref, int reg); /* emits the move only */
void x86_move_reg(struct x86_compiler *c, int to, int from);
void x86_op_done(struct x86_compiler *c,
                 const struct ir_ins *ins); /* releases what died, unlocks */
void x86_gset(struct x86_compiler *c, unsigned global, ir_ref ref);
void x86_gget(struct x86_compiler *c, unsigned global, ir_ref ref);
void x86_save_live(struct x86_compiler *c,
                   uint32_t regs); /* what lives in them beyond this op has memory too */
void x86_drop_regs(struct x86_compiler *c, uint32_t regs); /* they hold nothing any more */
void x86_sync(struct x86_compiler *c,
              bool unpinned_only);       /* every global (but the pinned) is in its home */
void x86_forget(struct x86_compiler *c); /* the homes are the truth */
void x86_to_slot(struct x86_compiler *c, ir_ref ref); /* the value is in a spill slot of its own */
void x86_consume(struct x86_compiler *c,
                 ir_ref ref); /* if ref dies here, the result may take its register */
void x86_store_reg(struct x86_compiler *c, int reg, struct x86_mem mem);
void x86_load_reg(struct x86_compiler *c, int reg, struct x86_mem mem);
void x86_copy_memory(struct x86_compiler *c, struct x86_mem to, struct x86_mem from);
unsigned x86_new_slot(struct x86_compiler *c);
/* Registers to registers and memory to registers, at once: to[i] gets value ref[i]. */
void x86_parallel(struct x86_compiler *c, unsigned count, const int *to, const ir_ref *ref);

/* mark.c: side tables. x86_mark() notes where the globals are, while the operands of an op that may
 * fault are held and before its result is given a register; x86_mark_here() right before the
 * instruction that may fault. */
void x86_mark(struct x86_compiler *c);
void x86_mark_here(struct x86_compiler *c);

/* sum.c: [base + index * 2^scale + disp]; base and index are resolved, or IR_NONE. */
struct x86_parts {
    ir_ref base, index;
    int32_t disp;
    uint8_t scale;
};
/* Of any value plus offset; a constant that fits and is in no register is the displacement alone.
 */
struct x86_parts x86_parts(const struct x86_compiler *c, ir_ref ref, int64_t offset);
/* Of an addition that is made, with what is fused into it. */
struct x86_parts x86_add_parts(const struct x86_compiler *c, const struct ir_ins *add);
/* The operand; x86_use() and x86_consume() of the parts. */
struct x86_mem x86_use_parts(struct x86_compiler *c, const struct x86_parts *parts);
void x86_consume_parts(struct x86_compiler *c, const struct x86_parts *parts);

/* join.c: units whose blocks meet. At every edge but to a cold exit all live values are in memory.
 */
void x86_join_begin(struct x86_compiler *c);
void x86_join_enter(struct x86_compiler *c,
                    uint32_t block); /* at the start of a block but the first */
void x86_join_save(struct x86_compiler *c,
                   const struct ir_ins *br); /* before the branch is emitted */
void x86_join_jump(struct x86_compiler *c, const struct ir_ins *jump);
void x86_join_target(struct x86_compiler *c, uint32_t at,
                     uint32_t block); /* displacement at `at` leads to block */
void x86_join_end(struct x86_compiler *c);

/* emit-*.c: one family of ops each; false if the op is not theirs. */
bool x86_emit_int(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins);
bool x86_emit_mem(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins);
/*
 * emit-tlb.c: JIT_MEM_TLB. prepare, before operands are brought into registers; temps, when they
 * are; then x86_mark(), and the result's register. begin emits the probe of a guest address and
 * returns the host operand; end, right behind the code that does the access, the slow way around
 * it.
 */
struct x86_tlb {
    struct x86_parts parts;
    int32_t size;
    bool store;           /* the page must be good for stores */
    bool cached;          /* the page is known from an earlier probe */
    bool group;           /* the probe is to serve several accesses */
    int32_t first, last;  /* of the group */
    int page, entry;      /* temporaries */
    uint32_t slow, cross; /* displacements of jumps; cross: 0 if none */
    struct jit_access access;
};
void x86_tlb_prepare(struct x86_compiler *c, struct x86_tlb *tlb, enum jit_access_kind kind,
                     const struct ir_ins *ins);
void x86_tlb_temps(struct x86_compiler *c, struct x86_tlb *tlb);
struct x86_mem x86_tlb_begin(struct x86_compiler *c, struct x86_tlb *tlb, struct x86_mem guest);
void x86_tlb_end(struct x86_compiler *c, struct x86_tlb *tlb);
/* A helper that has a side effect may have made other translations the current ones. */
static inline void x86_tlb_call(struct x86_compiler *c, const struct ir_helper *helper)
{
    if (helper->effects & IR_H_SIDE_EFFECT) {
        c->page.reg = REG_NONE;
    }
}
/* A register gets another content: nothing is remembered in it any more. */
static inline void x86_tlb_lose(struct x86_compiler *c, int reg)
{
    if (c->page.reg == reg && !c->in_cold) {
        c->page.reg = REG_NONE;
    }
}
bool x86_emit_fp(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins);
/* Homes that x86_sync() has filled with arithmetic results get them as the guest may see them. Uses
 * vector registers that hold nothing which memory has not. */
void x86_make_visible(struct x86_compiler *c);
bool x86_emit_call(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins);
bool x86_emit_exit(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins);

/* Compares, and returns the condition under which `a cc b` holds. Operands are released by the
 * caller's op_done. */
enum x86_cond x86_compare(struct x86_compiler *c, enum ir_cc cc, enum ir_type type, ir_ref a,
                          ir_ref b);
/* Tests the operand of a val.nan_test; the condition says that it is a NaN. */
enum x86_cond x86_nan_test(struct x86_compiler *c, const struct ir_ins *fcmp);

/* Out-of-line code: the jump whose displacement is at main offset `jump_at` leads to it. Between
 * begin and end the cold buffer is current and the allocation may change; end puts the main line's
 * back. With resume, end jumps to where the main line is now. Within a cold block such a piece
 * stands in line and must not change the allocation. */
void x86_cold_begin(struct x86_compiler *c, uint32_t jump_at);
void x86_cold_end(struct x86_compiler *c, bool resume);

void x86_reloc(struct x86_compiler *c, uint32_t at, enum jit_reloc_kind kind, unsigned index);
/* jmp/jcc/call to a thunk. */
void x86_jump_thunk(struct x86_compiler *c, enum jit_thunk thunk);
void x86_fixup(struct x86_compiler *c, uint32_t at, bool at_cold, uint32_t to, bool to_cold);

#endif
