// SPDX-License-Identifier: Apache-2.0
/* tests/sim/poll.h - between the simulated libuv and the simulated keeper's socket. */
#ifndef ORLOP_TESTS_SIM_POLL_H
#define ORLOP_TESTS_SIM_POLL_H

#include <uv.h>

void sim_poll_attach(int fd, uv_poll_t *p);
void sim_poll_detach(uv_poll_t *p);

#endif
