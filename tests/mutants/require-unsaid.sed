# SPDX-License-Identifier: ISC
# file: src/core/option.c
# what: PREFER_FAILURE is never sent
s/r->prefer_failure = f->require/r->prefer_failure = false \&\& f->require/
