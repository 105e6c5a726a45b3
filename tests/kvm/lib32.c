/* What the 32-bit guests share: traps in words. */
#include "tests/kvm/guest32.h"

void expect_trap(const char *what, const void *piece, const void *piece_end, int vector,
                 uint32_t error)
{
    bool done = trap.vector == 6 && trap.eip == (uint32_t)piece_end;
    bool good = vector < 0 ? done : !done && trap.vector == (unsigned)vector && trap.error == error;

    count_check(good);
    if (done) {
        say("%s: done in ring %d", what, trap.cs & 3);
    } else {
        say("%s: vector %d error %x at +%x ring %d", what, trap.vector, trap.error,
            trap.eip - (uint32_t)piece, trap.cs & 3);
    }
    if (good) {
        say("\n");
    } else if (vector < 0) {
        say(", NOT done\n");
    } else {
        say(", NOT %d error %x\n", (unsigned)vector, error);
    }
}

/* start32.S comes here when there is no run_at() to end. */
_Noreturn void unexpected_trap(void);

void unexpected_trap(void)
{
    say("UNEXPECTED vector %d error %x eip %x cs %x cr2 %x\n", trap.vector, trap.error, trap.eip,
        trap.cs, trap.cr2);
    end(2);
}
