/*
 * The guest's execve: this emulator again, for programs of the guest's architecture; the host's
 * kernel for all others. No binfmt_misc is needed.
 */
#ifndef TINAMOU_LINUX_USER_EXEC_H
#define TINAMOU_LINUX_USER_EXEC_H

#include <stdbool.h>

/*
 * A descriptor of this emulator's executable, for user_process.host_exe_fd (to be reserved with
 * user_fd_reserve()). The one an emulator before us left open for us if the guest has executed
 * another program: it works where there is no /proc, as in a bare chroot. Else of /proc/self/exe,
 * or of the name we were started by, which binfmt_misc (by_binfmt) does not tell. Or -errno.
 */
int exec_own_fd(bool by_binfmt);

#endif
