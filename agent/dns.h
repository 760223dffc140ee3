// SPDX-License-Identifier: Apache-2.0
/* agent/dns.h - the nameserver of the tasks: UDP and TCP port 53 of each network's gateway address.
 *
 * Role     answers names of services and tasks from the view (dns_table.h says which), sends other
 *          names to the host's nameservers (dns_upstream.h) unless the asker has internal networks
 *          only. Sockets are bound with IP_FREEBIND: gateway devices may come later, go and come
 *          again.
 * Thread   [loop]
 * Limits   DNS_CLIENTS_MAX TCP connections, DNS_CLIENTS_PER_NETWORK_MAX of one network; answers
 *          live 5 s.
 * See      tests/unit/net/test_dns.c
 */
#ifndef ORLOP_AGENT_DNS_H
#define ORLOP_AGENT_DNS_H

#include <uv.h>

#include "agent.pb-c.h"
#include "runtime/base/err.h"

enum { DNS_CLIENTS_MAX = 256, DNS_CLIENTS_PER_NETWORK_MAX = 32 };

struct agent_dns;

/* RESOLV_CONF: path of the host's (usually /etc/resolv.conf); copied. */
must_use int agent_dns_new(uv_loop_t *loop, const char *resolv_conf, struct agent_dns **ret,
                           struct err *err);

/* Answer from this view from now on; borrowed, copied before return. All endpoints should be in it,
 * not only the serving ones: they tell which task asks. When a gateway's port 53 is taken
 * (-EADDRINUSE) the others work nevertheless, and the next apply tries again. */
must_use int agent_dns_apply(struct agent_dns *d, Orlop__ViewNetwork *const *networks,
                             size_t n_networks, Orlop__ViewService *const *services,
                             size_t n_services, struct err *err);

/* The same for a view in which only these services are new or different, and these ids gone. -EAGAIN:
 * nothing was applied before; -ENOMEM: nothing has changed. */
must_use int agent_dns_change(struct agent_dns *d, Orlop__ViewService *const *services,
                              size_t n_services, const uint64_t *gone, size_t n_gone);

/* Close everything, then free D and call CB (NULL allowed): in a later turn of the loop, or at once
 * when nothing was open. */
void agent_dns_close(struct agent_dns *d, void (*cb)(void *arg), void *arg);

#endif
