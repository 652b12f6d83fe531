# SPDX-License-Identifier: ISC
# file: src/core/portcontrol.c
# what: a gateway that names the assigned port as the internal one is not understood
s/if (m->internal_port == 0 && m->asked_natpmp && m->protocol == r->protocol &&/if (m->internal_port == 1 \&\& m->asked_natpmp \&\& m->protocol == r->protocol \&\&/
