# SPDX-License-Identifier: ISC
# file: src/core/mapping.c
# what: a grant that a copy's refusal has overtaken is thrown away
s/return m->contested && /return false \&\& /
