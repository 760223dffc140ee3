// SPDX-License-Identifier: Apache-2.0
/* runtime/net/state_int.h - shared by state.c and state_change.c. Pure. */
#ifndef ORLOP_NET_STATE_INT_H
#define ORLOP_NET_STATE_INT_H

#include "state.h"

int net__by_key(const void *a, const void *b);  /* of two net__forward */
int net__by_pair(const void *a, const void *b); /* of two net__self or net__cross */

/* A state of what CHANGE names only, checked against LOADED's networks and without any. */
must_use int net__state_from_change(const struct net_config *cfg, const struct net__state *loaded,
                                    const struct net_change *change, struct net__state **ret,
                                    struct err *err);

#endif
