/* SPDX-License-Identifier: ISC */
#ifndef OS_LOG_H
#define OS_LOG_H

#include <stdbool.h>

/* Numbers are syslog's, for the journal's <N> prefixes. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

/* The only global of the program. Default LOG_LEVEL_INFO. */
void log_set_level(enum log_level);
bool log_enabled(enum log_level);
/* "error", "warning", "info", "debug". */
bool log_parse_level(const char *text, enum log_level *out) __attribute__((warn_unused_result));
/* Looks whether standard error is the journal (JOURNAL_STREAM): prefixes are written then, as the
 * journal knows the time. Otherwise every line begins with the local date and time. */
void log_init(void);

/* One line to standard error, without newline at the end of the format. Control characters in
 * the finished text are escaped as \xNN: parts of it may come from a gateway. errno survives. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
