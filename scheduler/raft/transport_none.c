// SPDX-License-Identifier: Apache-2.0
#include "transport_none.h"

static int init(struct raft_uv_transport *t, raft_id id, const char *address) {
    (void) t;
    (void) id;
    (void) address;
    return 0;
}

static int listen_none(struct raft_uv_transport *t, raft_uv_accept_cb cb) {
    (void) t;
    (void) cb;
    return 0;
}

static int connect_none(struct raft_uv_transport *t, struct raft_uv_connect *req, raft_id id,
                        const char *address, raft_uv_connect_cb cb) {
    (void) t;
    (void) req;
    (void) id;
    (void) address;
    (void) cb;
    return RAFT_NOCONNECTION;
}

static void close_none(struct raft_uv_transport *t, raft_uv_transport_close_cb cb) {
    cb(t);
}

void transport_none_init(struct raft_uv_transport *t) {
    *t = (struct raft_uv_transport){
        .init = init,
        .listen = listen_none,
        .connect = connect_none,
        .close = close_none,
    };
}
