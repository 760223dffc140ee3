// SPDX-License-Identifier: Apache-2.0
/* agent/dns_upstream.h - ask the host's own nameservers what we do not know.
 *
 * Role     one *ask* per question: each try has a socket of its own (so a port and an id of its own
 *          that nobody can guess), connected to the one server that may answer; silence or refusal
 *          leads to the next server, and at the end to "failed". resolv.conf is read again when
 *          some seconds old.
 * Thread   [loop]
 * Limits   ASKS_MAX in flight, ASKS_PER_ASKER_MAX of one address; DNS_SERVERS_MAX servers.
 * Note     never calls back from within dns_upstream_ask().
 */
#ifndef ORLOP_AGENT_DNS_UPSTREAM_H
#define ORLOP_AGENT_DNS_UPSTREAM_H

#include <sys/socket.h>
#include <uv.h>

#include "dns_message.h"

enum { DNS_SERVERS_MAX = 3, DNS_TRY_MS = 1500 };

struct dns_upstream;
struct dns_ask;

/* Is ADDRESS our own (asking it would be asking ourselves)? */
typedef bool (*dns_own_cb)(void *arg, uint32_t address);
must_use int dns_upstream_new(uv_loop_t *loop, const char *resolv_conf, dns_own_cb own, void *arg,
                              struct dns_upstream **ret);

/* MESSAGE is the answer, its id is QUERY's, borrowed and writable during the call; NULL = no server
 * answered. */
typedef void (*dns_answer_cb)(void *arg, uint8_t *message, size_t n);

/* -ENOENT: the host has no nameserver; -EBUSY: too many questions are in flight; -ENOMEM. */
must_use int dns_upstream_ask(struct dns_upstream *u, const struct dns_query *query, uint32_t asker,
                              bool by_tcp, dns_answer_cb cb, void *arg, struct dns_ask **ret);
void dns_upstream_cancel(struct dns_ask *a); /* no answer wanted any more; NULL allowed */

/* Cancels all; CB when nothing is left. */
void dns_upstream_close(struct dns_upstream *u, void (*cb)(void *arg), void *arg);

/* The nameservers in TEXT (of a resolv.conf), port 53. How many. */
size_t dns_upstream_servers(const char *text, struct sockaddr_storage ret[static DNS_SERVERS_MAX],
                            dns_own_cb own, void *arg);

#endif
