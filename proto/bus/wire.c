// SPDX-License-Identifier: Apache-2.0
/* A stream's life: an accept or dial aio yields it; then at most one receive and one send are with
 * nng. wire_close() closes the nng stream, which ends both aios; their mails, the last ones, free
 * it. When none is under way a mail of our own does, so that freeing always happens at the top of
 * the loop. What nng's threads touch is the aio, the buffer it was given and the mail: never a
 * field of ours. */
#include "wire.h"

#include <errno.h>
#include <nng/nng.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runtime/base/fd.h"
#include "runtime/base/mem.h"
#include "runtime/base/str.h"

enum {
    RX_MIN = 16 << 10,
    RX_BULK = 256 << 10, /* more only for a frame that is larger; given back when empty */
    OUT_KEEP = 256 << 10,
    WIRE_DIAL_MS = 10000,
    SOCKET_MODE = 0600,
};

static int errno_of(int nng) {
    if (nng & NNG_ESYSERR) return -(nng & ~NNG_ESYSERR);
    switch (nng) {
    case NNG_ENOMEM:
        return -ENOMEM;
    case NNG_EINVAL:
    case NNG_EADDRINVAL:
        return -EINVAL;
    case NNG_ETIMEDOUT:
        return -ETIMEDOUT;
    case NNG_ECONNREFUSED:
        return -ECONNREFUSED;
    case NNG_ECANCELED:
        return -ECANCELED;
    case NNG_ENOFILES:
        return -EMFILE;
    case NNG_EADDRINUSE:
        return -EADDRINUSE;
    case NNG_EPERM:
        return -EACCES;
    case NNG_EUNREACHABLE:
        return -EHOSTUNREACH;
    case NNG_ENOENT:
        return -ENOENT;
    case NNG_ENOTSUP:
        return -ENOTSUP;
    default:
        return -ECONNRESET; /* closed, shut down, reset: all the same to us */
    }
}

/* --- streams -------------------------------------------------------------------------------- */

static void wire_free(struct wire *w) {
    if (w->send_aio) nng_aio_free(w->send_aio);
    if (w->recv_aio) nng_aio_free(w->recv_aio);
    if (w->stream) nng_stream_free(w->stream);
    w->mailbox->users--;
    mem_free(w->rx.p);
    mem_free(w->out.p);
    mem_free(w->pending.p);
    mem_free(w);
}

static void free_if_idle(struct wire *w) {
    if (!w->receiving && !w->sending) wire_free(w);
}

static void deliver_close(struct mail *m) {
    wire_free(container_of(m, struct wire, close_mail));
}

static void deliver_recv(struct mail *m) {
    struct wire *w = container_of(m, struct wire, recv_mail);
    w->receiving = false;
    if (w->closing) {
        free_if_idle(w);
        return;
    }
    int code = nng_aio_result(w->recv_aio);
    size_t n = nng_aio_count(w->recv_aio);
    if (code == NNG_ECLOSED || code == NNG_ECONNSHUT || (code == 0 && n == 0)) {
        w->ops->broken(w->owner, -ECONNRESET, "closed by the peer");
    } else if (code) {
        w->ops->broken(w->owner, errno_of(code), nng_strerror(code));
    } else {
        w->rx.len += n;
        w->ops->received(w->owner);
    }
}

static void deliver_send(struct mail *m) {
    struct wire *w = container_of(m, struct wire, send_mail);
    w->sending = false;
    if (w->closing) {
        free_if_idle(w);
        return;
    }
    int code = nng_aio_result(w->send_aio);
    if (code) {
        w->ops->broken(w->owner, errno_of(code), nng_strerror(code));
        return;
    }
    w->out.at += nng_aio_count(w->send_aio);
    ensure(w->out.at <= w->out.len);
    wire_flush(w);
    w->ops->sent(w->owner);
}

static void on_recv(void *arg) {
    struct wire *w = arg;
    mailbox_push(w->mailbox, &w->recv_mail);
}

static void on_send(void *arg) {
    struct wire *w = arg;
    mailbox_push(w->mailbox, &w->send_mail);
}

/* TAKES stream, also on failure (NULL). */
static struct wire *wire_new(struct mailbox *mb, nng_stream *stream) {
    struct wire *w = mem_zalloc(sizeof *w);
    if (!w) {
        nng_stream_free(stream);
        return NULL;
    }
    w->mailbox = mb;
    w->stream = stream;
    w->recv_mail.deliver = deliver_recv;
    w->send_mail.deliver = deliver_send;
    w->close_mail.deliver = deliver_close;
    mb->users++;
    if (nng_aio_alloc(&w->recv_aio, on_recv, w) || nng_aio_alloc(&w->send_aio, on_send, w)) {
        wire_free(w);
        return NULL;
    }
    nng_aio_set_timeout(w->recv_aio, NNG_DURATION_INFINITE); /* PING has the deadline */
    nng_aio_set_timeout(w->send_aio, NNG_DURATION_INFINITE);
    return w;
}

void wire_attach(struct wire *w, const struct wire_ops *ops, void *owner) {
    w->ops = ops;
    w->owner = owner;
}

void wire_close(struct wire *w) {
    if (!w || w->closing) return;
    w->closing = true;
    w->owner = NULL;
    nng_stream_close(w->stream);
    if (!w->receiving && !w->sending) mailbox_push(w->mailbox, &w->close_mail);
}

struct bus_peer wire_peer(const struct wire *w) {
    struct bus_peer peer = {.uid = (uid_t) -1, .pid = 0};
    uint64_t v;
    if (nng_stream_get_uint64(w->stream, NNG_OPT_IPC_PEER_UID, &v) == 0) peer.uid = (uid_t) v;
    if (nng_stream_get_uint64(w->stream, NNG_OPT_IPC_PEER_PID, &v) == 0) peer.pid = (pid_t) v;
    return peer;
}

static int resize(struct wire_bytes *b, size_t cap) {
    uint8_t *p = mem_resize(b->p, cap, 1);
    if (!p) return -ENOMEM;
    b->p = p;
    b->cap = cap;
    return 0;
}

static void compact(struct wire_bytes *b) {
    if (b->at == 0) return;
    memmove(b->p, b->p + b->at, b->len - b->at);
    b->len -= b->at;
    b->at = 0;
}

/* Twice as large each time it was filled: a length that a peer merely announces allocates nothing.
 */
static int make_room(struct wire_bytes *rx, size_t need) {
    bool was_full = rx->len == rx->cap;
    compact(rx);
    if (rx->len == 0 && rx->cap > RX_BULK && need <= RX_BULK) {
        mem_free(rx->p);
        *rx = (struct wire_bytes){0};
    }
    if (rx->cap == 0) return resize(rx, RX_MIN);
    size_t limit = need > RX_BULK ? need : RX_BULK;
    if (!was_full || rx->cap >= limit) return 0;
    size_t cap = rx->cap * 2 < limit ? rx->cap * 2 : limit;
    int r = resize(rx, cap);
    return r < 0 && rx->len < rx->cap ? 0 : r;
}

int wire_receive(struct wire *w, size_t need) {
    if (w->receiving || w->closing) return 0;
    int r = make_room(&w->rx, need);
    if (r < 0) return r;
    ensure(w->rx.len < w->rx.cap);
    nng_iov iov = {.iov_buf = w->rx.p + w->rx.len, .iov_len = w->rx.cap - w->rx.len};
    (void) nng_aio_set_iov(w->recv_aio, 1, &iov); /* fails above 8 parts only */
    w->receiving = true;
    nng_stream_recv(w->stream, w->recv_aio);
    return 0;
}

uint8_t *wire_reserve(struct wire *w, size_t n) {
    struct wire_bytes *b = &w->pending;
    if (b->cap - b->len < n) {
        size_t cap = b->cap ? b->cap : RX_MIN;
        while (cap - b->len < n) cap *= 2; /* n is at most a frame: no overflow */
        if (resize(b, cap) < 0) return NULL;
    }
    uint8_t *p = b->p + b->len;
    b->len += n;
    return p;
}

void wire_flush(struct wire *w) {
    if (w->sending || w->closing) return;
    if (w->out.at == w->out.len) {
        struct wire_bytes done = w->out;
        if (done.cap > OUT_KEEP) {
            mem_free(done.p);
            done = (struct wire_bytes){0};
        }
        done.at = done.len = 0;
        w->out = w->pending;
        w->pending = done;
    }
    if (w->out.at == w->out.len) return;
    nng_iov iov = {.iov_buf = w->out.p + w->out.at, .iov_len = w->out.len - w->out.at};
    (void) nng_aio_set_iov(w->send_aio, 1, &iov);
    w->sending = true;
    nng_stream_send(w->stream, w->send_aio);
}

size_t wire_queued(const struct wire *w) {
    return w->out.len - w->out.at + w->pending.len;
}

/* --- what makes streams --------------------------------------------------------------------- */

/* The part of listener and dialer that is the same: one aio whose output is a stream. */
struct maker {
    struct mailbox *mailbox;
    struct mail mail;
    nng_aio *aio;
    bool busy, closing;
    wire_made *made;
    void *owner;
    void (*free)(struct maker *k);
};

struct wire_listener {
    struct maker maker;
    nng_stream_listener *nng;
};

struct wire_dialer {
    struct maker maker;
    nng_stream_dialer *nng;
};

static void on_made(void *arg) {
    struct maker *k = arg;
    mailbox_push(k->mailbox, &k->mail);
}

static void deliver_made(struct mail *m) {
    struct maker *k = container_of(m, struct maker, mail);
    bool was_busy = k->busy;
    k->busy = false;
    int code = was_busy ? nng_aio_result(k->aio) : NNG_ECLOSED;
    nng_stream *stream = code ? NULL : nng_aio_get_output(k->aio, 0);
    if (k->closing) {
        if (stream) nng_stream_free(stream);
        k->free(k);
        return;
    }
    if (code) {
        k->made(k->owner, NULL, errno_of(code), nng_strerror(code));
        return;
    }
    struct wire *w = wire_new(k->mailbox, stream);
    k->made(k->owner, w, w ? 0 : -ENOMEM, "no memory");
}

static int maker_init(struct maker *k, struct mailbox *mb, wire_made *made, void *owner,
                      void (*free)(struct maker *)) {
    *k = (struct maker){.mailbox = mb, .made = made, .owner = owner, .free = free};
    k->mail.deliver = deliver_made;
    if (nng_aio_alloc(&k->aio, on_made, k)) return -ENOMEM;
    mb->users++;
    return 0;
}

static void maker_fini(struct maker *k) {
    nng_aio_free(k->aio);
    k->mailbox->users--;
}

static void maker_close(struct maker *k) {
    k->closing = true;
    if (!k->busy) mailbox_push(k->mailbox, &k->mail);
}

/* tls+tcp:// will be added here, with the identities of both sides. */
static int check_scheme(const char *url, struct err *err) {
    if (str_starts(url, "ipc://") || str_starts(url, "tcp://")) return 0;
    return err_say(err, -EPROTONOSUPPORT, "'%s': only ipc:// and tcp:// addresses are supported",
                   url);
}

static void listener_free(struct maker *k) {
    struct wire_listener *l = container_of(k, struct wire_listener, maker);
    maker_fini(k);
    nng_stream_listener_free(l->nng);
    mem_free(l);
}

/* Somebody listens: -EADDRINUSE. Nobody does: the file that the last one left is removed. */
static int clear_socket(const char *path, struct err *err) {
    struct stat st;
    if (lstat(path, &st) < 0) return errno == ENOENT ? 0 : err_set(err, -errno, "look at %s", path);
    if (!S_ISSOCK(st.st_mode))
        return err_say(err, -EEXIST, "%s is in the way: it is no socket", path);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof addr.sun_path) return err_set(err, -ENAMETOOLONG, "socket '%s'", path);
    memcpy(addr.sun_path, path, n);
    auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return err_set(err, -errno, "make a socket");
    if (connect(fd, (struct sockaddr *) &addr, sizeof addr) == 0 || errno != ECONNREFUSED)
        return err_say(err, -EADDRINUSE, "somebody listens on %s already", path);
    if (unlink(path) < 0 && errno != ENOENT) return err_set(err, -errno, "remove the old %s", path);
    return 0;
}

/* The mode is set by nng between bind(2) and listen(2): before that nobody can connect. */
static int open_listener(struct wire_listener *l, const char *url, struct err *err) {
    bool ipc = str_starts(url, "ipc://");
    if (ipc) {
        int r = clear_socket(url + strlen("ipc://"), err);
        if (r < 0) return r;
    }
    int code = nng_stream_listener_alloc(&l->nng, url);
    if (code) return err_set(err, errno_of(code), "listen on %s", url);
    if (ipc) code = nng_stream_listener_set_int(l->nng, NNG_OPT_IPC_PERMISSIONS, SOCKET_MODE);
    if (!code) code = nng_stream_listener_listen(l->nng);
    if (!code) return 0;
    nng_stream_listener_free(l->nng);
    return err_set(err, errno_of(code), "listen on %s", url);
}

int wire_listen(struct mailbox *mb, const char *url, wire_made *made, void *owner,
                struct wire_listener **ret, struct err *err) {
    int r = check_scheme(url, err);
    if (r < 0) return r;
    auto_free struct wire_listener *l = mem_zalloc(sizeof *l);
    if (!l) return err_set(err, -ENOMEM, "listen on %s", url);
    r = open_listener(l, url, err);
    if (r < 0) return r;
    r = maker_init(&l->maker, mb, made, owner, listener_free);
    if (r < 0) {
        nng_stream_listener_free(l->nng);
        return err_set(err, r, "listen on %s", url);
    }
    nng_aio_set_timeout(l->maker.aio, NNG_DURATION_INFINITE);
    *ret = steal_ptr(&l);
    return 0;
}

void wire_accept(struct wire_listener *l) {
    if (l->maker.busy || l->maker.closing) return;
    l->maker.busy = true;
    nng_stream_listener_accept(l->nng, l->maker.aio);
}

int wire_listener_port(const struct wire_listener *l) {
    int port = 0;
    (void) nng_stream_listener_get_int(l->nng, NNG_OPT_TCP_BOUND_PORT, &port); /* 0 for ipc */
    return port;
}

void wire_listener_close(struct wire_listener *l) {
    if (!l || l->maker.closing) return;
    maker_close(&l->maker);
    nng_stream_listener_close(l->nng);
}

static void dialer_free(struct maker *k) {
    struct wire_dialer *d = container_of(k, struct wire_dialer, maker);
    maker_fini(k);
    nng_stream_dialer_free(d->nng);
    mem_free(d);
}

int wire_dialer_new(struct mailbox *mb, const char *url, wire_made *made, void *owner,
                    struct wire_dialer **ret, struct err *err) {
    int r = check_scheme(url, err);
    if (r < 0) return r;
    auto_free struct wire_dialer *d = mem_zalloc(sizeof *d);
    if (!d) return err_set(err, -ENOMEM, "dial %s", url);
    int code = nng_stream_dialer_alloc(&d->nng, url);
    if (code) return err_set(err, errno_of(code), "dial %s", url);
    r = maker_init(&d->maker, mb, made, owner, dialer_free);
    if (r < 0) {
        nng_stream_dialer_free(d->nng);
        return err_set(err, r, "dial %s", url);
    }
    nng_aio_set_timeout(d->maker.aio, WIRE_DIAL_MS);
    *ret = steal_ptr(&d);
    return 0;
}

void wire_dial(struct wire_dialer *d) {
    if (d->maker.busy || d->maker.closing) return;
    d->maker.busy = true;
    nng_stream_dialer_dial(d->nng, d->maker.aio);
}

void wire_dialer_close(struct wire_dialer *d) {
    if (!d || d->maker.closing) return;
    maker_close(&d->maker);
    nng_stream_dialer_close(d->nng);
}
