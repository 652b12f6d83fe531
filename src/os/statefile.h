/* SPDX-License-Identifier: ISC */
#ifndef OS_STATEFILE_H
#define OS_STATEFILE_H

#include "base/mstime.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Small documents on disk, replaced as a whole: written to a temporary file (0600), fsynced,
 * renamed, the folder fsynced. After a crash at any moment there is the old document or the new
 * one.
 */
struct loop;
struct statefile;

/* These wait for the disk: not for use in the event loop. 0 or -errno. */
int statefile_write(const char *dir, const char *name, const void *bytes, size_t n);
/* The whole file as *out, of *n octets and with a NUL after the last; free() it. -ENOENT: there is
 * none; -EFBIG: more than `max` octets; -EINVAL: not a regular file. */
int statefile_read(const char *dir, const char *name, size_t max, char **out, size_t *n);
/* Renames a damaged file to NAME.bad, replacing an older one. */
int statefile_set_aside(const char *dir, const char *name);

/*
 * Writes DIR/NAME without making the loop wait for the disk: in a forked child, one at a time. What
 * is put meanwhile waits, the latest only. `done` (may be NULL) is called in the loop after every
 * write, with 0 or -errno; it may put another, but not free the writer. A child is waited for by
 * its own process id: nobody else may wait for "any child". NULL when out of memory.
 */
struct statefile *statefile_new(struct loop *, const char *dir, const char *name,
    void (*done)(void *ctx, int error), void *ctx);
/* What the child does instead of statefile_write(), with the same arguments and result. */
void statefile_set_write(struct statefile *,
    int (*write)(const char *dir, const char *name, const void *bytes, size_t n));
/* The bytes are copied or written before it returns. 0 or -errno (no process, no memory; it is not
 * tried again then: put it once more, later). */
int statefile_put(struct statefile *, const void *bytes, size_t n);
/* Something is being written or waits for it. */
bool statefile_busy(const struct statefile *);
/* Waits for what is being written and writes what waits, at the exit: all told at most `patience`
 * ms, then -ETIMEDOUT (a child that hangs is left to itself). Else the result of the last write.
 * `done` is not called. */
int statefile_flush(struct statefile *, mstime patience);
/* What waits is forgotten; a child at work is left to finish. NULL is allowed. */
void statefile_free(struct statefile *);

#endif
