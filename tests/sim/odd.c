/* SPDX-License-Identifier: ISC */
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* What goes wrong in wide worlds only. */

void
odd_strike(struct sim *s)
{
	(void)s;
}
