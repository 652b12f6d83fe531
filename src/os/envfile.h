/* SPDX-License-Identifier: ISC */
#ifndef OS_ENVFILE_H
#define OS_ENVFILE_H

#include <stddef.h>

/*
 * RUNTIME/forwards/NAME.env: what is mapped now, for others to read. Not durable, as RUNTIME is
 * gone with a reboot anyway, but never half written. Errors are -errno.
 */
struct envfile;

/* Makes the folder RUNTIME/forwards, and removes what an earlier daemon has left in it. NULL with
 * errno. */
struct envfile *envfile_open(const char *runtime) __attribute__((warn_unused_result));
void envfile_close(struct envfile *); /* leaves the files; NULL is allowed */

/* Replaces the file of `forward` atomically. */
int envfile_write(struct envfile *, const char *forward, const char *text, size_t n)
    __attribute__((warn_unused_result));
/* 0 also when there is none. */
int envfile_remove(struct envfile *, const char *forward) __attribute__((warn_unused_result));

/*
 * NAME="VALUE" and a newline, such that EnvironmentFile= of systemd and `.` of a POSIX shell read
 * the same. Control characters, which one of them would not take, become '?'. Owned by the caller;
 * NULL: out of memory.
 */
char *envfile_line(const char *name, const char *value);

#endif
