/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/direct.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Relative paths are to be ignored, says the XDG base directory specification. */
static const char *
absolute(const char *variable)
{
	const char *value = getenv(variable);

	return value != NULL && *value == '/' ? value : NULL;
}

static bool
folder_path(char *path, size_t n)
{
	const char *state = absolute("XDG_STATE_HOME"), *home = absolute("HOME");
	int length;

	if (state == NULL && home == NULL) {
		const struct passwd *user = getpwuid(getuid());

		home = user != NULL && user->pw_dir[0] == '/' ? user->pw_dir : NULL;
	}
	if (state != NULL)
		length = snprintf(path, n, "%s/portleased", state);
	else if (home != NULL)
		length = snprintf(path, n, "%s/.local/state/portleased", home);
	else
		return false;
	return length > 0 && (size_t)length < n;
}

/* With all that is missing above it, each for its owner only. */
static int
make_folder(char *path)
{
	for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		int error;

		if (slash != NULL)
			*slash = '\0';
		error = mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -errno;
		if (slash != NULL)
			*slash = '/';
		/* A folder above may be there and yet not allow to ask for it again. */
		if (slash == NULL)
			return error;
	}
}

bool
direct_secret(bool make, uint8_t out[SECRET_SIZE])
{
	char path[PATH_MAX];
	struct stat st;
	int error = -ENOENT;

	secret_random(out, SECRET_SIZE);
	if (folder_path(path, sizeof(path))) {
		size_t n = strlen(path);

		if (make)
			error = make_folder(path);
		else if (snprintf(path + n, sizeof(path) - n, "/secret") <
			(int)(sizeof(path) - n) &&
		    lstat(path, &st) == 0)
			error = 0;
		path[n] = '\0';
		if (error == 0)
			error = secret_load(path, out);
	} else {
		snprintf(path, sizeof(path), "$XDG_STATE_HOME");
	}
	/* Nothing has been mapped yet, so nothing is to be known. */
	if (error == 0 || (!make && error == -ENOENT))
		return error == 0;
	ctl_complain("no secret in %s: %s; a PCP mapping made now cannot be deleted later, make "
		     "the folder writable",
	    path, strerror(-error));
	return false;
}
