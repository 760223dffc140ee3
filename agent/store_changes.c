// SPDX-License-Identifier: Apache-2.0
#include "agent/store_changes.h"

void store_changes_fini(struct store_changes *c) {
    strv_fini(&c->tasks);
}

void store_changes_reset(struct store_changes *c) {
    c->whole = c->ports = false;
    c->n_services = c->n_addresses = 0;
    strv_fini(&c->tasks);
}

void store_changes_whole(struct store_changes *c) {
    store_changes_reset(c);
    c->whole = true;
}

void store_changes_service(struct store_changes *c, const Orlop__ViewService *s) {
    if (c->whole) return;
    if (s->n_ports) c->ports = true;
    for (size_t i = 0; i < c->n_services; i++)
        if (c->services[i] == s->id) return; /* it was replaced, or came again */
    if (c->n_services == STORE_CHANGES_MAX) {
        store_changes_whole(c);
        return;
    }
    c->services[c->n_services++] = s->id;
}

void store_changes_task(struct store_changes *c, const Orlop__TaskSpec *t) {
    if (c->whole) return;
    if (c->n_addresses + t->n_addresses > STORE_CHANGES_MAX || strv_add(&c->tasks, t->task) < 0) {
        store_changes_whole(c);
        return;
    }
    for (size_t i = 0; i < t->n_addresses; i++)
        c->addresses[c->n_addresses++] = t->addresses[i]->address;
}
