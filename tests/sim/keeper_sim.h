// SPDX-License-Identifier: Apache-2.0
/* tests/sim/keeper_sim.h - between the simulated keeper, its socket (keeper_client.c) and the
 * checks. */
#ifndef ORLOP_TESTS_SIM_KEEPER_H
#define ORLOP_TESTS_SIM_KEEPER_H

#include "keeper.pb-c.h"
#include "runtime/base/list.h"
#include "runtime/base/map.h"

enum sandbox_state { SB_CLONED, SB_RECORDED, SB_RUNNING, SB_DEAD, SB_ENDED };

struct kpeer; /* a connection of an agent, on the keeper's side */

struct sandbox {
    struct list node;
    char task[64], service[64], app[64];
    uint64_t boot;
    uint32_t attempt;
    int32_t pid;
    enum sandbox_state state;
    bool recorded, forgotten, exit_known;
    bool nobody_saw; /* it ended when neither keeper nor anchor was there */
    int wait_status; /* the truth, known or not */
    int failure;     /* errno: the start failed */
    const char *failure_phase;
    int64_t started_ns, ended_ns;
    struct kpeer *starter, *closer;
    uint64_t starter_id, closer_id;
};

void sim_keeper_request(struct kpeer *p, const Orlop__KeeperRequest *r);
void sim_keeper_peer_gone(const struct kpeer *p);
void sim_sandbox_record_late(struct sandbox *s);
/* Those that were exec'ed and have not ended. */
void sim_sandboxes_each(void (*fn)(const struct sandbox *s, void *ctx), void *ctx);

/* keeper_client.c */
void kpeer_send(struct kpeer *p, const Orlop__KeeperMessage *m);
void kpeer_send_all(const Orlop__KeeperMessage *m);
void kpeer_keeper_died(void);

#endif
