/* SPDX-License-Identifier: ISC */
#include "base/wire.h"

#include <string.h>

struct rbuf
rbuf_over(const void *bytes, size_t n)
{
	static const uint8_t nothing[1];
	/* Pointer arithmetic on NULL is undefined even for 0 octets. */
	const uint8_t *p = n > 0 ? bytes : nothing;

	return (struct rbuf){ .p = p, .end = p + n };
}

/* The next `n` octets, or NULL from the first time they are not there. */
static const uint8_t *
take(struct rbuf *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || n > (size_t)(r->end - p)) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	return p;
}

uint8_t
rbuf_u8(struct rbuf *r)
{
	const uint8_t *p = take(r, 1);

	return p == NULL ? 0 : p[0];
}

uint16_t
rbuf_u16(struct rbuf *r)
{
	const uint8_t *p = take(r, 2);

	if (p == NULL)
		return 0;
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t
rbuf_u32(struct rbuf *r)
{
	const uint8_t *p = take(r, 4);

	if (p == NULL)
		return 0;
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void
rbuf_copy(struct rbuf *r, void *to, size_t n)
{
	const uint8_t *p = take(r, n);

	if (n == 0)
		return;
	if (p == NULL)
		memset(to, 0, n);
	else
		memcpy(to, p, n);
}

void
rbuf_skip(struct rbuf *r, size_t n)
{
	(void)take(r, n);
}

size_t
rbuf_left(const struct rbuf *r)
{
	return r->bad ? 0 : (size_t)(r->end - r->p);
}

struct wbuf
wbuf_over(void *bytes, size_t n)
{
	uint8_t *p = bytes;

	/* Nothing fits into nothing, which may be NULL: keep away from pointer arithmetic. */
	if (n == 0)
		return (struct wbuf){ .bad = true };
	return (struct wbuf){ .start = p, .p = p, .end = p + n };
}

/* Room for the next `n` octets, or NULL from the first time it is not there. */
static uint8_t *
give(struct wbuf *w, size_t n)
{
	uint8_t *p = w->p;

	if (w->bad || n > (size_t)(w->end - p)) {
		w->bad = true;
		return NULL;
	}
	w->p += n;
	return p;
}

void
wbuf_u8(struct wbuf *w, uint8_t v)
{
	uint8_t *p = give(w, 1);

	if (p != NULL)
		p[0] = v;
}

void
wbuf_u16(struct wbuf *w, uint16_t v)
{
	uint8_t *p = give(w, 2);

	if (p == NULL)
		return;
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void
wbuf_u32(struct wbuf *w, uint32_t v)
{
	uint8_t *p = give(w, 4);

	if (p == NULL)
		return;
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void
wbuf_copy(struct wbuf *w, const void *from, size_t n)
{
	uint8_t *p = give(w, n);

	if (p != NULL && n > 0)
		memcpy(p, from, n);
}

void
wbuf_zero(struct wbuf *w, size_t n)
{
	uint8_t *p = give(w, n);

	if (p != NULL && n > 0)
		memset(p, 0, n);
}

size_t
wbuf_done(const struct wbuf *w)
{
	return w->bad ? 0 : (size_t)(w->p - w->start);
}
