/* SPDX-License-Identifier: ISC */
#include "directed.h"
#include "stage.h"

const struct directed directed_ipv6[] = {
	{ NULL, NULL, 0 },
};
