/* SPDX-License-Identifier: ISC */
#ifndef OS_HTTPD_H
#define OS_HTTPD_H

/*
 * A web server for one page, to be read by programs: GET and HEAD, one answer for each connection,
 * few clients at a time, and none for long. libevent's evhttp is known here only. While it listens
 * nowhere it costs nothing.
 */
struct httpd;
struct loop;

struct httpd_page {
	const char *path;
	/* To be freed; NULL: out of memory. `accept` is what the client has asked for (RFC 9110
	 * section 12.5.1), or NULL; `type` is the content type of what it gets. */
	char *(*text)(void *ctx, const char *accept, const char **type);
};

/* `page` and `ctx` are borrowed for its life. NULL with errno. */
struct httpd *httpd_new(struct loop *, const struct httpd_page *page, void *ctx);
/* Listens at ADDRESS:PORT, [IPv6]:PORT or NAME:PORT, and no longer elsewhere; NULL: nowhere. The
 * same again changes nothing, or tries again what has failed. Logs what goes wrong. */
void httpd_listen(struct httpd *, const char *where);
/* Before its loop. NULL is allowed. */
void httpd_free(struct httpd *);

#endif
