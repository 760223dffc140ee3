// SPDX-License-Identifier: Apache-2.0
#include "mailbox.h"

#include <stdbool.h>

#include "runtime/base/mem.h"

static struct mail *take_all(struct mailbox *mb) {
    uv_mutex_lock(&mb->lock);
    struct mail *all = mb->head;
    mb->head = NULL;
    mb->tail = &mb->head;
    uv_mutex_unlock(&mb->lock);
    return all;
}

static void on_async(uv_async_t *async) {
    struct mailbox *mb = container_of(async, struct mailbox, async);
    for (struct mail *m = take_all(mb), *next; m; m = next) {
        next = m->next;
        m->deliver(m);
    }
    mb->drained(mb);
}

int mailbox_init(struct mailbox *mb, uv_loop_t *loop, void (*drained)(struct mailbox *)) {
    *mb = (struct mailbox){.drained = drained};
    mb->tail = &mb->head;
    int r = uv_mutex_init(&mb->lock);
    if (r < 0) return r;
    r = uv_async_init(loop, &mb->async, on_async);
    if (r < 0) uv_mutex_destroy(&mb->lock);
    return r;
}

void mailbox_push(struct mailbox *mb, struct mail *m) {
    m->next = NULL;
    uv_mutex_lock(&mb->lock);
    bool was_empty = !mb->head;
    *mb->tail = m;
    mb->tail = &m->next;
    /* Under the lock: once the loop has taken this mail, nothing here touches the mailbox again but
     * the unlock, and the aio that we are called by is waited for before the mailbox goes. */
    if (was_empty) uv_async_send(&mb->async);
    uv_mutex_unlock(&mb->lock);
}

void mailbox_close(struct mailbox *mb, uv_close_cb closed) {
    ensure(mb->users == 0 && !mb->head);
    uv_mutex_destroy(&mb->lock);
    uv_close((uv_handle_t *) &mb->async, closed);
}
