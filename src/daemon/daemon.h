/* SPDX-License-Identifier: ISC */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stdbool.h>

/* Command line. Strings are borrowed for the daemon's life; NULL = default. */
struct daemon_options {
	const char *config;
	const char *control;
	const char *state_directory;
	const char *runtime_directory;
	int log_level;
	bool has_log_level;
};

#define DAEMON_EXIT_OK 0
#define DAEMON_EXIT_FAILED 1
#define DAEMON_EXIT_USAGE 2
#define DAEMON_EXIT_CONFIG 78

/* Parses and validates only. Prints every problem as FILE:LINE: text to standard error; of a good
 * file, how much it asks for to standard output. Returns the exit status. */
int daemon_check_config(const char *config);
/* Runs until told to stop; logs what goes wrong. Returns the exit status. */
int daemon_run(const struct daemon_options *);

#endif
