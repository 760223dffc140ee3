// SPDX-License-Identifier: Apache-2.0
/* agent/dns_table.h - what names mean, per network: made from the view, then changed by services.
 *
 * Role     pure. Who asks decides what there is: a task sees the networks that it is on (its
 *          address is trustworthy: the rule set drops forged ones), its own app's names before
 *          another app's.
 * Thread   [any]
 * Names    service, service.app, an alias: the VIP, or without one the serving tasks;
 *          tasks.service[.app]: the serving tasks; app-service-slot: that task. An address
 *          backwards: app-service-slot, or service.app for a VIP.
 */
#ifndef ORLOP_AGENT_DNS_TABLE_H
#define ORLOP_AGENT_DNS_TABLE_H

#include "agent.pb-c.h"
#include "dns_message.h"

struct dns_table;

must_use int dns_table_new(Orlop__ViewNetwork *const *networks, size_t n_networks,
                           Orlop__ViewService *const *services, size_t n_services,
                           struct dns_table **ret);
void dns_table_free(struct dns_table *t);
/* SERVICES are new, or as they are now; GONE are ids. One pass over sorted arrays, nothing is made
 * anew but these. -ENOMEM: nothing has changed. */
must_use int dns_table_change(struct dns_table *t, Orlop__ViewService *const *services,
                              size_t n_services, const uint64_t *gone, size_t n_gone);

enum dns_verdict {
    DNS_DROP,    /* the asker does not belong to this network */
    DNS_ANSWER,  /* *reply is complete but for dns_reply_end() */
    DNS_FORWARD, /* not ours, and the asker may know other names */
};
/* Answer QUERY that ASKER sent to the gateway of NETWORK, into REPLY's BUF of CAP bytes. */
enum dns_verdict dns_table_answer(const struct dns_table *t, uint32_t network, uint32_t asker,
                                  const struct dns_query *query, struct dns_reply *reply,
                                  uint8_t *buf, size_t cap);

/* Is this the address of a gateway (a nameserver that would ask ourselves)? */
bool dns_table_is_gateway(const struct dns_table *t, uint32_t address);

#endif
