/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX 1000 /* octets of a line before escaping; the journal likes short lines, too */

/* The program's only global: what the lines look like and which of them are written. */
static struct {
	enum log_level level;
	bool journal; /* "<6>text" */
	bool stamped; /* "2026-11-22 08:29:01 text" */
} logger = { .level = LOG_LEVEL_INFO };

void
log_set_level(enum log_level level)
{
	logger.level = level;
}

bool
log_enabled(enum log_level level)
{
	return level <= logger.level;
}

bool
log_parse_level(const char *text, enum log_level *out)
{
	static const struct {
		const char *name;
		enum log_level level;
	} names[] = {
		{ "error", LOG_LEVEL_ERROR },
		{ "warning", LOG_LEVEL_WARNING },
		{ "info", LOG_LEVEL_INFO },
		{ "debug", LOG_LEVEL_DEBUG },
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(text, names[i].name) == 0) {
			*out = names[i].level;
			return true;
		}
	}
	return false;
}

/* JOURNAL_STREAM is inherited by children whose standard error leads elsewhere: compare. */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	int used = 0;

	if (stream == NULL || sscanf(stream, "%llu:%llu%n", &device, &inode, &used) != 2 ||
	    stream[used] != '\0')
		return false;
	if (fstat(STDERR_FILENO, &st) != 0)
		return false;
	return (unsigned long long)st.st_dev == device && (unsigned long long)st.st_ino == inode;
}

void
log_init(void)
{
	logger.journal = stderr_is_journal();
	logger.stamped = !logger.journal; /* a file without times would be of no use */
}

/*
 * Octets of the UTF-8 character at `s` that may be shown as it is; 0 if this octet must be
 * escaped: C0, DEL and C1 controls (a terminal obeys them), and what is not UTF-8.
 */
static size_t
printable(const unsigned char *s)
{
	size_t more;
	unsigned long low, code;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f ? 1 : 0;
	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		more = 1;
		low = 0xa0; /* also keeps C1 out */
		code = s[0] & 0x1fU;
	} else if ((s[0] & 0xf0) == 0xe0) {
		more = 2;
		low = 0x800;
		code = s[0] & 0x0fU;
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		more = 3;
		low = 0x10000;
		code = s[0] & 0x07U;
	} else {
		return 0;
	}
	for (size_t i = 1; i <= more; i++) {
		if ((s[i] & 0xc0) != 0x80) /* the terminating NUL stops here, too */
			return 0;
		code = code << 6 | (s[i] & 0x3fU);
	}
	if (code < low || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return more + 1;
}

/* The start of a line, in front of the text. Returns its length. */
static size_t
prefix(enum log_level level, char *to, size_t n)
{
	struct timespec now;
	struct tm tm;

	if (logger.journal)
		return (size_t)snprintf(to, n, "<%d>", (int)level);
	if (!logger.stamped || clock_gettime(CLOCK_REALTIME, &now) != 0 ||
	    localtime_r(&now.tv_sec, &tm) == NULL)
		return 0;
	return strftime(to, n, "%Y-%m-%d %H:%M:%S ", &tm);
}

static void __attribute__((format(printf, 2, 0)))
write_line(enum log_level level, const char *format, va_list args)
{
	static const char hex[] = "0123456789abcdef";
	char text[TEXT_MAX], line[32 + 2 * TEXT_MAX];
	int saved = errno;
	size_t n;

	if (vsnprintf(text, sizeof text, format, args) < 0) {
		errno = saved;
		return;
	}
	n = prefix(level, line, 32);
	for (const char *s = text; *s != '\0';) {
		size_t plain = printable((const unsigned char *)s);

		if (n + 5 >= sizeof line) /* nothing but escapes: somebody is playing */
			break;
		if (plain > 0) {
			memcpy(line + n, s, plain);
			n += plain;
			s += plain;
		} else {
			line[n++] = '\\';
			line[n++] = 'x';
			line[n++] = hex[(unsigned char)*s >> 4];
			line[n++] = hex[*s & 0x0f];
			s++;
		}
	}
	line[n++] = '\n';
	/* One write: lines of several processes do not mix. Nobody can be told when it fails. */
	while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
		continue;
	errno = saved;
}

#define LOG_AT(level)                              \
	do {                                       \
		va_list args;                      \
		if (!log_enabled(level))           \
			return;                    \
		va_start(args, format);            \
		write_line((level), format, args); \
		va_end(args);                      \
	} while (0)

void
log_error(const char *format, ...)
{
	LOG_AT(LOG_LEVEL_ERROR);
}

void
log_warning(const char *format, ...)
{
	LOG_AT(LOG_LEVEL_WARNING);
}

void
log_info(const char *format, ...)
{
	LOG_AT(LOG_LEVEL_INFO);
}

void
log_debug(const char *format, ...)
{
	LOG_AT(LOG_LEVEL_DEBUG);
}
