/* Messages and semaphores: structures with addresses inside, and semid_ds, which x86-64 lays out in
 * its own way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "linux-user/syscall-pass.h"
#include "linux-user/syscall.h"

#define MAX_VECTORS 1024 /* UIO_MAXIOV */
#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

/* Host addresses for those in a guest's msghdr. *vectors is to be freed. */
static int64_t read_message(uint64_t guest, struct msghdr *host, struct iovec **vectors)
{
    *vectors = NULL;
    if (mem_guest_read(host, guest, sizeof(*host)) < 0) {
        return -EFAULT;
    }
    if (host->msg_iovlen > MAX_VECTORS) {
        return -EMSGSIZE;
    }
    if (host->msg_iovlen > 0) {
        *vectors = malloc(host->msg_iovlen * sizeof(**vectors));
        if (!*vectors) {
            return -ENOMEM;
        }
        if (mem_guest_read(*vectors, (uint64_t)host->msg_iov,
                           host->msg_iovlen * sizeof(**vectors)) < 0) {
            free(*vectors);
            *vectors = NULL;
            return -EFAULT;
        }
        for (size_t i = 0; i < host->msg_iovlen; i++) {
            (*vectors)[i].iov_base = (void *)pass_address((uint64_t)(*vectors)[i].iov_base);
        }
    }
    host->msg_iov = *vectors;
    host->msg_name = (void *)pass_address((uint64_t)host->msg_name);
    host->msg_control = (void *)pass_address((uint64_t)host->msg_control);
    return 0;
}

int64_t sys_sendmsg(struct user_thread *t, const uint64_t args[6])
{
    struct msghdr host;
    struct iovec *vectors;
    int64_t result;

    if (mem_guest_base == 0) {
        return user_safe_syscall(t, SYS_sendmsg, args[0], args[1], args[2], 0, 0, 0);
    }
    result = read_message(args[1], &host, &vectors);
    if (result == 0) {
        result = user_safe_syscall(t, SYS_sendmsg, args[0], (uint64_t)&host, args[2], 0, 0, 0);
        free(vectors);
    }
    return result;
}

int64_t sys_recvmsg(struct user_thread *t, const uint64_t args[6])
{
    struct msghdr host, guest;
    struct iovec *vectors;
    int64_t result;

    if (mem_guest_base == 0) {
        return user_safe_syscall(t, SYS_recvmsg, args[0], args[1], args[2], 0, 0, 0);
    }
    result = read_message(args[1], &host, &vectors);
    if (result < 0) {
        return result;
    }
    result = user_safe_syscall(t, SYS_recvmsg, args[0], (uint64_t)&host, args[2], 0, 0, 0);
    free(vectors);
    if (result >= 0) {
        if (mem_guest_read(&guest, args[1], sizeof(guest)) < 0) {
            return -EFAULT;
        }
        guest.msg_namelen = host.msg_namelen;
        guest.msg_controllen = host.msg_controllen;
        guest.msg_flags = host.msg_flags;
        if (mem_guest_write(args[1], &guest, sizeof(guest)) < 0) {
            return -EFAULT;
        }
    }
    return result;
}

/* struct semid64_ds of asm-generic; the permissions are the same on x86-64. */
struct guest_semid {
    uint8_t permissions[48];
    uint64_t otime, ctime, nsems, unused[2];
};
/* The same of x86-64. */
struct host_semid {
    uint8_t permissions[48];
    uint64_t otime, unused1, ctime, unused2, nsems, unused[2];
};
_Static_assert(sizeof(struct host_semid) == sizeof(struct semid_ds), "struct semid_ds");

int64_t sys_semctl(struct user_thread *t, const uint64_t args[6])
{
    /* Architectures with IPC_64 as the only form ignore the flag. */
    int command = (int)args[2] & ~0x100;
    struct guest_semid guest;
    struct host_semid host;
    int64_t result;

    switch (command) {
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY:
        result = user_safe_syscall(t, SYS_semctl, args[0], args[1], (uint64_t)command,
                                   (uint64_t)&host, 0, 0);
        if (result >= 0) {
            memset(&guest, 0, sizeof(guest));
            memcpy(guest.permissions, host.permissions, sizeof(guest.permissions));
            guest.otime = host.otime;
            guest.ctime = host.ctime;
            guest.nsems = host.nsems;
            if (mem_guest_write(args[3], &guest, sizeof(guest)) < 0) {
                return -EFAULT;
            }
        }
        return result;
    case IPC_SET:
        if (mem_guest_read(&guest, args[3], sizeof(guest)) < 0) {
            return -EFAULT;
        }
        memset(&host, 0, sizeof(host));
        memcpy(host.permissions, guest.permissions, sizeof(host.permissions));
        return user_safe_syscall(t, SYS_semctl, args[0], args[1], (uint64_t)command,
                                 (uint64_t)&host, 0, 0);
    case GETALL:
    case SETALL:
    case IPC_INFO:
    case SEM_INFO:
        return user_safe_syscall(t, SYS_semctl, args[0], args[1], (uint64_t)command,
                                 pass_address(args[3]), 0, 0);
    default:
        return user_safe_syscall(t, SYS_semctl, args[0], args[1], (uint64_t)command, args[3], 0, 0);
    }
}
