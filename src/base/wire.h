/* SPDX-License-Identifier: ISC */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Cursors over network bytes, big endian. A cursor that would leave its
 * buffer sets `bad` and stays bad: a codec reads or writes straight through
 * and looks once, at the end. A bad reader yields zeros.
 */
struct rbuf {
	const uint8_t *p;   /* borrowed */
	const uint8_t *end; /* one past the last octet */
	bool bad;
};

struct wbuf {
	uint8_t *start; /* borrowed */
	uint8_t *p;
	uint8_t *end;
	bool bad;
};

struct rbuf rbuf_over(const void *bytes, size_t n);
uint8_t rbuf_u8(struct rbuf *);
uint16_t rbuf_u16(struct rbuf *);
uint32_t rbuf_u32(struct rbuf *);
void rbuf_copy(struct rbuf *, void *to, size_t n);
void rbuf_skip(struct rbuf *, size_t n);
size_t rbuf_left(const struct rbuf *);

struct wbuf wbuf_over(void *bytes, size_t n);
void wbuf_u8(struct wbuf *, uint8_t);
void wbuf_u16(struct wbuf *, uint16_t);
void wbuf_u32(struct wbuf *, uint32_t);
void wbuf_copy(struct wbuf *, const void *from, size_t n);
void wbuf_zero(struct wbuf *, size_t n);
/* Octets written, or 0 when anything did not fit. */
size_t wbuf_done(const struct wbuf *);

#endif
