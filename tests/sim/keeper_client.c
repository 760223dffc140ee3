// SPDX-License-Identifier: Apache-2.0
/* runtime/keeper/client.h: packets between agent and keeper, in order and late. What a dead agent
 * has sent and the keeper has not read yet is void (runtime/keeper/peer.c). */
#include "runtime/keeper/client.h"

#include <errno.h>

#include "keeper_sim.h"
#include "poll.h"
#include "proto/arena.h"
#include "runtime/base/mem.h"
#include "sim.h"

enum { FIRST_FD = 1 << 28 }; /* closed by nobody: no descriptor of ours */

struct packet {
    struct list node;
    struct kpeer *peer;
    size_t len;
    uint8_t data[];
};

struct kpeer { /* of the world; it outlives agent and keeper */
    struct list node;
    int fd;
    uint64_t agent_life;
    bool keeper_gone, agent_gone, told;
    int64_t last_up_us, last_down_us;
    struct list ready; /* packets for the agent */
    uv_poll_t *poll;
};

struct keeper_client {
    struct kpeer *peer;
};

static struct list peers;
static int next_fd;
static bool holding;
static struct list waiting; /* packets to the keeper, while they are held */

void sim_keeper_client_reset(void) {
    list_init(&peers);
    list_init(&waiting);
    next_fd = FIRST_FD;
    holding = false;
}

/* --- the agent's side ------------------------------------------------------------------------ */

int keeper_client_open(const char *socket, struct keeper_client **ret, struct err *err) {
    (void) socket;
    if (!sim_keeper_up()) return err_set(err, -ECONNREFUSED, "connect to the keeper");
    struct keeper_client *c = mem_zalloc(sizeof *c);
    enum sim_role was = sim_as(SIM_WORLD);
    struct kpeer *p = c->peer = mem_zalloc(sizeof *p);
    sim_as(was);
    p->fd = next_fd++;
    p->agent_life = sim.processes[SIM_AGENT].life;
    list_init(&p->ready);
    list_add_tail(&peers, &p->node);
    *ret = c;
    return 0;
}

void keeper_client_free(struct keeper_client *c) {
    if (!c) return;
    c->peer->agent_gone = true;
    c->peer->poll = NULL;
    sim_keeper_peer_gone(c->peer);
    mem_free(c);
}

int keeper_client_fd(const struct keeper_client *c) {
    return c->peer->fd;
}

int keeper_client_check(char *const *argv, size_t n_argv, char *const *env, size_t n_env,
                        struct err *err) {
    (void) argv;
    (void) n_argv;
    (void) env;
    (void) n_env;
    (void) err;
    return 0;
}

void sim_poll_attach(int fd, uv_poll_t *poll) {
    list_each (it, &peers) {
        struct kpeer *p = list_entry(it, struct kpeer, node);
        if (p->fd == fd) p->poll = poll;
    }
}

void sim_poll_detach(uv_poll_t *poll) {
    list_each (it, &peers) {
        struct kpeer *p = list_entry(it, struct kpeer, node);
        if (p->poll == poll) p->poll = NULL;
    }
}

static bool agent_listens(const struct kpeer *p) {
    return !p->agent_gone && p->agent_life == sim.processes[SIM_AGENT].life;
}

static void reaches_keeper(void *arg) {
    struct packet *x = arg;
    bool old = !agent_listens(x->peer) && !sim_is_naive("old-socket");
    if (!x->peer->keeper_gone && !old) {
        Orlop__KeeperRequest *r = orlop__keeper_request__unpack(NULL, x->len, x->data);
        ensure(r);
        sim_keeper_request(x->peer, r);
        orlop__keeper_request__free_unpacked(r, NULL);
    }
    mem_free(x);
}

static struct packet *pack(struct kpeer *p, const ProtobufCMessage *m) {
    size_t len = protobuf_c_message_get_packed_size(m);
    struct packet *x = mem_zalloc(sizeof *x + len);
    x->peer = p;
    x->len = len;
    protobuf_c_message_pack(m, x->data);
    return x;
}

static void send_up(struct packet *x) {
    struct kpeer *p = x->peer;
    int64_t at = sim.now_us + sim_delay_us(20, 150000);
    if (at <= p->last_up_us) at = p->last_up_us + 1;
    p->last_up_us = at;
    sim_after_us(SIM_WORLD, at - sim.now_us, reaches_keeper, x);
}

int keeper_client_send(struct keeper_client *c, const Orlop__KeeperRequest *req, const int *fds,
                       size_t n_fds, struct err *err) {
    (void) fds;
    (void) n_fds;
    (void) err;
    if (c->peer->told) return -EPIPE;
    enum sim_role was = sim_as(SIM_WORLD);
    struct packet *x = pack(c->peer, &req->base);
    if (holding)
        list_add_tail(&waiting, &x->node);
    else
        send_up(x);
    sim_as(was);
    return 0;
}

void sim_keeper_hold(bool hold) {
    holding = hold;
    while (!hold && !list_empty(&waiting)) {
        struct packet *x = list_entry(waiting.next, struct packet, node);
        list_del(&x->node);
        send_up(x);
    }
}

int keeper_client_read(struct keeper_client *c, Orlop__KeeperMessage **ret, int *ret_fd,
                       struct err *err) {
    struct kpeer *p = c->peer;
    if (ret_fd) *ret_fd = -1;
    if (list_empty(&p->ready))
        return p->told ? err_set(err, -ECONNRESET, "the keeper is gone") : -EAGAIN;
    struct packet *x = list_entry(p->ready.next, struct packet, node);
    list_del(&x->node);
    *ret = orlop__keeper_message__unpack(NULL, x->len, x->data);
    mem_free(x);
    return *ret ? 0 : -EBADMSG;
}

void keeper_message_free(Orlop__KeeperMessage *m) {
    if (m) orlop__keeper_message__free_unpacked(m, NULL);
}

/* --- the keeper's side ----------------------------------------------------------------------- */

static void wake(struct kpeer *p) {
    uv_poll_t *poll = p->poll;
    if (!poll || !poll->poll_cb) return;
    enum sim_role was = sim_as(SIM_AGENT);
    poll->poll_cb(poll, 0, UV_READABLE);
    sim_as(was);
}

static void reaches_agent(void *arg) {
    struct packet *x = arg;
    struct kpeer *p = x->peer;
    if (!agent_listens(p)) {
        mem_free(x);
        return;
    }
    list_add_tail(&p->ready, &x->node);
    wake(p);
}

void kpeer_send(struct kpeer *p, const Orlop__KeeperMessage *m) {
    if (!agent_listens(p)) return;
    enum sim_role was = sim_as(SIM_WORLD);
    struct packet *x = pack(p, &m->base);
    int64_t at = sim.now_us + sim_delay_us(20, 150000);
    if (at <= p->last_down_us) at = p->last_down_us + 1;
    p->last_down_us = at;
    sim_after_us(SIM_WORLD, at - sim.now_us, reaches_agent, x);
    sim_as(was);
}

void kpeer_send_all(const Orlop__KeeperMessage *m) {
    list_each (it, &peers) {
        struct kpeer *p = list_entry(it, struct kpeer, node);
        if (!p->keeper_gone) kpeer_send(p, m);
    }
}

static void hangs_up(void *arg) {
    struct kpeer *p = arg;
    p->told = true;
    if (agent_listens(p)) wake(p);
}

void kpeer_keeper_died(void) {
    list_each_safe (it, &peers) {
        struct kpeer *p = list_entry(it, struct kpeer, node);
        if (p->keeper_gone) continue;
        p->keeper_gone = true;
        int64_t at = sim.now_us + sim_delay_us(20, 50000);
        if (at <= p->last_down_us) at = p->last_down_us + 1;
        sim_after_us(SIM_WORLD, at - sim.now_us, hangs_up, p);
    }
}
