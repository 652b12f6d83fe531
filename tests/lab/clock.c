/* SPDX-License-Identifier: ISC */
/*
 * Preloaded into a daemon of the lab: moves its clocks by what the file $LAB_CLOCK says, two
 * numbers of milliseconds, for CLOCK_BOOTTIME (a suspend) and CLOCK_REALTIME (somebody sets the
 * clock). A timer that became due by it fires after the next look at the clock, as at a resume.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS 1000000000LL

static const volatile int64_t *moved; /* NULL: not at all */
static int64_t applied;               /* to the timer */
static int timer = -1;
static struct itimerspec wanted;

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("LAB_CLOCK");
	int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	moved = mmap(NULL, 2 * sizeof *moved, PROT_READ, MAP_SHARED, fd, 0);
	if (moved == MAP_FAILED)
		abort();
	close(fd);
}

static struct timespec
add(struct timespec t, int64_t ms)
{
	int64_t ns = (int64_t)t.tv_sec * NANOSECONDS + t.tv_nsec + ms * 1000000;

	return (struct timespec){ .tv_sec = ns / NANOSECONDS, .tv_nsec = ns % NANOSECONDS };
}

static int
arm(int fd, int flags, struct itimerspec *old)
{
	struct itimerspec real = wanted;

	if (real.it_value.tv_sec != 0 || real.it_value.tv_nsec != 0) {
		real.it_value = add(real.it_value, -applied);
		if (real.it_value.tv_sec < 0) /* long ago */
			real.it_value = (struct timespec){ .tv_nsec = 1 };
	}
	return (int)syscall(SYS_timerfd_settime, fd, flags, &real, old);
}

int
timerfd_settime(int fd, int flags, const struct itimerspec *value, struct itimerspec *old)
{
	if (moved == NULL || (flags & TFD_TIMER_ABSTIME) == 0)
		return (int)syscall(SYS_timerfd_settime, fd, flags, value, old);
	timer = fd;
	wanted = *value;
	return arm(fd, flags, old);
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int error = (int)syscall(SYS_clock_gettime, clock, now);

	if (error != 0 || moved == NULL)
		return error;
	if (clock == CLOCK_REALTIME)
		*now = add(*now, moved[1]);
	if (clock != CLOCK_BOOTTIME)
		return 0;
	if (applied != moved[0]) {
		applied = moved[0];
		if (timer >= 0)
			(void)arm(timer, TFD_TIMER_ABSTIME, NULL);
	}
	*now = add(*now, applied);
	return 0;
}
