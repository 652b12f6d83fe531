/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

const struct directed directed_update[] = {
	{ NULL, NULL, 0 },
};
