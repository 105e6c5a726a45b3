/*
 * What the process owes the host at its end: files that it has made are removed (sockets, links, a
 * pidfile), and commands are run (the script that takes a network interface down).
 *
 * Whoever owes something notes it when it comes to be, and pays it when it goes. A process that has
 * given up the rights for that sets an agent, another process that still has them, beforehand.
 * Notes are on the main thread; paying is on any, one at a time.
 */
#ifndef TINAMOU_UTIL_ENDING_H
#define TINAMOU_UTIL_ENDING_H

/* A file that the process has made. Its path is understood as of now: later changes of the working
 * folder do not matter. Without memory nothing is noted. */
void ending_note_file(const char *path);
/* A program that is run with one argument, and waited for. */
void ending_note_command(const char *program, const char *argument);

/* Pays what was noted with the same texts, once; what was not noted is paid directly. 0 or -errno;
 * -EIO: the command has failed. */
int ending_remove_file(const char *path);
int ending_run_command(const char *program, const char *argument);

/* How many notes there are; they are numbered from 0, and keep their numbers. */
unsigned ending_count(void);
/* Pays the n-th directly, unless it is paid. Async-signal-safe but for what commands do. */
int ending_pay(unsigned n);
/* Who pays from now on, by number: 0 or -errno. */
void ending_set_agent(int (*agent)(unsigned n));

#endif
