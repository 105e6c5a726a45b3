/*
 * The back end's contract: from a unit of IR to relocatable host code with its side tables.
 *
 * The unit convention (x86-64). Between units each pinned global is in its fixed host register, all
 * others are in the vCPU state; one register points into the state. A jump from unit to unit is a
 * tail call under that convention. A guest call pushes the guest return pc and does a host call; a
 * guest return compares the pc on the stack and does a host ret. docs/architecture.md has the
 * picture.
 */
#ifndef TINAMOU_JIT_JIT_H
#define TINAMOU_JIT_JIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "jit/ir/ir.h"
#include "jit/opt/options.h"

enum jit_memory_model {
    JIT_MEM_IDENTITY, /* guest address = host address */
    JIT_MEM_SEGMENT,  /* the gs segment's base is added */
    JIT_MEM_TLB,      /* translated by struct jit_tlb_entry */
};

/*
 * JIT_MEM_TLB: an entry translates one page. Generated code compares a tag with the page's address,
 * to which it adds the bits of the access's address that should be zero for its size; so whatever
 * is misaligned goes the slow way (JIT_THUNK_SLOW), as does what has the tag JIT_TLB_NEVER.
 */
struct jit_tlb_entry {
    uint64_t load_tag, store_tag;
    uint64_t addend; /* host address minus guest address */
    uint64_t other;  /* the accelerator's own */
};

#define JIT_PAGE_BITS 12
#define JIT_TLB_NEVER UINT64_C(0x800)

/*
 * Byte offset of the entry for an address; mask is (entries - 1) * sizeof(entry). Folding higher
 * bits in keeps strides of powers of two from sharing an entry.
 */
static inline uint64_t jit_tlb_offset(uint64_t address, uint64_t mask)
{
    uint64_t page = address >> JIT_PAGE_BITS << JIT_PAGE_BITS;

    return (page + (page >> 9)) >> 7 & mask;
}

enum jit_access_kind { JIT_ACCESS_LOAD, JIT_ACCESS_STORE, JIT_ACCESS_AMO, JIT_ACCESS_CAS };

#define JIT_NO_REG 0xffu

/*
 * An access that goes the slow way, as it stands in the code behind the call of JIT_THUNK_SLOW.
 * Registers are numbered as in struct jit_host_regs, vector registers from 16.
 */
struct jit_access {
    uint32_t mark; /* offset in the unit, for jit_recover() */
    int32_t disp;
    int32_t imm;                /* the value, where the register is JIT_NO_REG */
    uint8_t kind;               /* enum jit_access_kind */
    uint8_t mem;                /* enum ir_mem, with IR_MS for loads */
    uint8_t base, index, scale; /* address: base + (index << scale) + disp */
    uint8_t value, dest;
    uint8_t amo;   /* enum ir_amo */
    uint8_t wide;  /* the result is 64 bits */
    uint8_t clear; /* a register that becomes 0, or JIT_NO_REG */
    uint8_t pad[2];
};

/* Where generated code finds things, as offsets from the start of the vCPU state. Handed in by the
 * accelerator. */
struct jit_layout {
    enum jit_memory_model memory;
    uint32_t stack_limit; /* 8 bytes: leave when rsp is below */
    uint32_t jump_cache;  /* pointer to 16-byte entries {pc, code} */
    uint32_t jump_cache_bits;
    uint32_t exit_reason; /* 4 bytes */
    uint32_t host_sp;
    uint32_t spill;       /* spill_slots + 1 slots of 8 bytes, 32-byte aligned */
    uint32_t spill_slots; /* at most 63 */
    uint32_t tlb_table;   /* JIT_MEM_TLB: pointer to the entries */
    uint32_t tlb_mask;    /* 8 bytes, see jit_tlb_offset() */
    bool paged; /* a direct jump that leaves the unit's page goes through the jump cache, as the
                   target page may be another one in another address space */
    uint32_t call_reason; /* exit_loop with this reason goes by JIT_THUNK_CALL; 0: none does */
};

/* exit_reason while a helper runs that may fault on guest memory; the accelerator's handler asks
 * for it. */
#define JIT_IN_HELPER 0xffffu

/* Fixed pieces of host code that units jump to; made once by jit_x86_thunks(). */
enum jit_thunk {
    JIT_THUNK_ENTER, /* C: void enter(void *state, const void *code); returns when a unit leaves for
                        the run loop */
    JIT_THUNK_EXIT,  /* state is complete in pins and homes; exit_reason and pc are set */
    JIT_THUNK_CALL,  /* as EXIT, but what the reason asks for may be done here, and control go on */
    JIT_THUNK_LINK,  /* eax = link id: a direct jump whose target is not known yet */
    JIT_THUNK_LOOKUP, /* rax = guest pc: not in the jump cache */
    JIT_THUNK_MISS,  /* rax = guest pc: return that doesn't match the shadow stack: empties it, then
                        looks up */
    JIT_THUNK_POLL,  /* rax = guest pc: an exit check has fired */
    JIT_THUNK_FAULT, /* as EXIT, but every global is in the state: where a recovered fault goes on
                      */
    JIT_THUNK_SLOW,  /* called, with a struct jit_access behind the call: hooks.slow */
    JIT_THUNK_FLAG_TABLE, /* data: 64 bytes from MXCSR's flags to fflags_get's, 32 bytes back */
    JIT_THUNK_COUNT
};

enum jit_reloc_kind {
    JIT_RELOC_HELPER,  /* rel32 to helper `index` of the target */
    JIT_RELOC_THUNK,   /* rel32 to enum jit_thunk `index` */
    JIT_RELOC_LINK_ID, /* imm32: the id of link `index` of this unit */
    JIT_RELOC_RUNTIME, /* rel32 to enum jit_runtime `index` */
};

/* C functions of the back end itself. */
enum jit_runtime { JIT_RT_FMA64, JIT_RT_FMA32 };

struct jit_reloc {
    uint32_t offset;
    uint16_t index;
    uint8_t kind;
};

/* A direct jump or call to another unit: a 4-byte displacement, within eight aligned bytes so that
 * it may be patched while others run it. */
struct jit_link {
    uint32_t offset; /* of the displacement */
    uint32_t stub;   /* where it leads while unlinked (offset in the unit) */
    uint64_t pc;     /* the guest target */
};

struct jit_code {
    uint8_t *bytes; /* the unit's code; the entry is at 0 */
    uint32_t size, cap;
    struct jit_reloc *relocs;
    uint32_t reloc_count, reloc_cap;
    struct jit_link *links;
    uint32_t link_count, link_cap;
    uint8_t *side; /* side table, for jit_recover() */
    uint32_t side_size, side_cap;
    uint32_t main_size; /* bytes of the main line; cold code follows */
};

void jit_code_init(struct jit_code *code);
void jit_code_free(struct jit_code *code);

#endif
