/*
 * The interpreter back end: runs a unit of IR as it stands, on any value of the options. It is the
 * oracle for host code generators, and the engine where the host refuses executable memory.
 *
 * It sees guest memory only through an ops table, and the guest's registers only in the vCPU state.
 * Floating point runs on the host's unit under whatever environment (MXCSR) the caller has set up;
 * the sticky flags there are the guest's, and no exception is ever unmasked.
 */
#ifndef TINAMOU_JIT_INTERP_INTERP_H
#define TINAMOU_JIT_INTERP_INTERP_H

#include <stdint.h>
#include "jit/ir/ir.h"

/*
 * Guest memory, supplied by the accelerator. Each function does one access of `size` bytes (1, 2, 4
 * or 8) and returns 0, or -EFAULT with the signal and its code that the guest is to get. An access
 * is atomic if its address is aligned, cas always; values are zero-extended.
 */
struct interp_memory {
    int (*load)(void *opaque, uint64_t address, unsigned size, uint64_t *value, int *fault_signal,
                int *fault_code);
    int (*store)(void *opaque, uint64_t address, unsigned size, uint64_t value, int *fault_signal,
                 int *fault_code);
    /* If the memory holds `expected` it gets `desired`; *old is what it held. A full barrier. */
    int (*cas)(void *opaque, uint64_t address, unsigned size, uint64_t expected, uint64_t desired,
               uint64_t *old, int *fault_signal, int *fault_code);
    void *opaque;
    /* Calls a helper that accesses guest memory (IR_H_MEMORY), as interp_call() of call.h does, and
     * catches its fault: then the result is -EFAULT like that of an access. NULL: none faults. */
    int (*call)(void *opaque, const struct ir_helper *helper, void *state, const uint64_t *args,
                uint64_t *result, int *fault_signal, int *fault_code);
};

/* How a unit was left. */
struct interp_exit {
    enum ir_opcode op;  /* the exit_* op; meaningless after a fault */
    uint64_t pc;        /* where the guest goes on; of the faulting instruction after a fault */
    uint64_t return_pc; /* exit_call: where the callee will return to */
    unsigned reason;    /* exit_loop */
    int fault_signal;   /* after a fault: as the memory reported it */
    int fault_code;
    uint64_t fault_address; /* guest address of the access */
};

/*
 * Runs a verified unit from its entry until an exit or a fault. `state` is the vCPU state that the
 * target's offsets refer to.
 *
 * Returns 0 after an exit, -EFAULT after a memory fault, -ENOMEM when there is no memory for the
 * values of a very large unit (nothing has happened then). In the first two cases the state holds
 * the pc and exactly the globals as of that point, as the guest may see them.
 *
 * Any thread, also several on one unit at a time; not from a signal handler.
 */
int interp_run(const struct ir_unit *unit, void *state, const struct interp_memory *memory,
               struct interp_exit *exit);

#endif
