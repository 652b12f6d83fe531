/* SPDX-License-Identifier: ISC */
#ifndef FGW_FEATURE_H
#define FGW_FEATURE_H

/* First include of every file: the program is built by the tree's make as well as by one plain
 * call of cc, where there is no config.h. */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#endif
