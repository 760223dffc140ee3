// SPDX-License-Identifier: Apache-2.0
/* tests/unit/net/view.h - views as the agent gets them, built by hand.
 *
 * Thread   [any]; aborts when memory is short.
 */
#ifndef ORLOP_TESTS_NET_VIEW_H
#define ORLOP_TESTS_NET_VIEW_H

#include "runtime/net/net.h"

enum { VIEW_MAX = 64 };

struct view {
    struct {
        Orlop__ViewNetwork *v[VIEW_MAX];
        size_t n, made;
    } networks;
    struct {
        Orlop__ViewService *v[VIEW_MAX];
        size_t n, made;
    } services;
    struct net_local local[VIEW_MAX];
    size_t n_local;
};

struct view *view_new(void);
void view_free(struct view *v);
struct net_view view_of(const struct view *v);
Orlop__ViewNetwork *view_network(struct view *v, uint32_t id, uint32_t subnet, uint32_t gateway,
                                 bool internal); /* a /22 */
Orlop__ViewService *view_service(struct view *v, const char *name, uint32_t network, uint32_t vip);
Orlop__Endpoint *view_endpoint(Orlop__ViewService *s, const char *task, uint32_t address,
                               bool serving);
Orlop__Endpoint *view_endpoint_at(struct view *v, size_t service, size_t endpoint);
void view_port(Orlop__ViewService *s, Orlop__Port__Protocol protocol, uint32_t target,
               uint32_t published, const char *host_ip);
/* ADDRESS is on this node, as one of the task that the view already has there. */
void view_local(struct view *v, uint32_t address, uint32_t gateway);

#endif
