/* SPDX-License-Identifier: ISC */
#ifndef OS_LOOP_EVENT_H
#define OS_LOOP_EVENT_H

/* For those few who know libevent, too: what the loop is made of. */
struct event_base;
struct loop;

struct event_base *loop_base(struct loop *);

#endif
