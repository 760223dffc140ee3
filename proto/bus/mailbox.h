// SPDX-License-Identifier: Apache-2.0
/* proto/bus/mailbox.h - the one way from nng's threads to the loop.
 *
 * Role     an intrusive queue under a mutex, and a uv_async that wakes the loop when it was empty.
 * Thread   mailbox_push: [any]; the rest [loop].
 * Owns     nothing of what is pushed. A mail is in the queue at most once: it is pushed again only
 *          after it was delivered (one outstanding nng_aio per mail sees to that).
 * Limits   as many mails as there are aios.
 */
#ifndef ORLOP_PROTO_BUS_MAILBOX_H
#define ORLOP_PROTO_BUS_MAILBOX_H

#include <uv.h>

#include "runtime/base/err.h"

struct mail {
    struct mail *next;
    void (*deliver)(struct mail *m); /* [loop]; may free what M is in */
};

struct mailbox {
    uv_mutex_t lock;
    struct mail *head, **tail; /* under lock */
    uv_async_t async;
    size_t users;                        /* [loop] objects that may still push */
    void (*drained)(struct mailbox *mb); /* after each round of deliveries */
};

must_use int mailbox_init(struct mailbox *mb, uv_loop_t *loop, void (*drained)(struct mailbox *));
void mailbox_push(struct mailbox *mb, struct mail *m);
/* Only when no user is left. CLOSED runs later and frees. */
void mailbox_close(struct mailbox *mb, uv_close_cb closed);

#endif
