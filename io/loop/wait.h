/* poll() that looks a little while before it sleeps; one thread's. */
#ifndef TINAMOU_IO_LOOP_WAIT_H
#define TINAMOU_IO_LOOP_WAIT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

struct loop_wait {
    int64_t most;  /* nanoseconds to look for; 0: sleep at once */
    bool is_near;  /* the last wait was short enough that the next may be worth looking */
    unsigned rest; /* waits without a look after the last look in vain */
    unsigned left; /* of these */
};

/* As poll(), with its errors in errno. */
int loop_wait(struct loop_wait *wait, struct pollfd *fds, nfds_t count, int timeout);

#endif
