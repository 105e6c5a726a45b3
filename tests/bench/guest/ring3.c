/* ring3 ROUNDS: the work of ring3.h natively; prints its result. */
#include "tests/bench/guest/ring3.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    printf("%llx\n", (unsigned long long)ring3_work(strtoull(argc > 1 ? argv[1] : "1", NULL, 10)));
    return 0;
}
