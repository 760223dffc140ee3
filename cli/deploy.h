// SPDX-License-Identifier: Apache-2.0
/* cli/deploy.h - follow an app until it is as wanted: for up, scale, restart, down.
 *
 * Thread   one.
 */
#ifndef ORLOP_CLI_DEPLOY_H
#define ORLOP_CLI_DEPLOY_H

#include "client.h"

struct deploy {
    const char *app;
    char *const *only; /* services; NULL or empty: all */
    size_t n_only;
    uint32_t timeout_s; /* 0: as long as it takes */
};

/* Wait, with progress. EXIT_OK when every service is settled, EXIT_DEPLOYMENT when one failed (said
 * why) or the time is over, EXIT_INTERRUPTED after ^C (said that the app goes on). */
must_use int deploy_follow(struct client *c, const struct deploy *d);
/* Wait until the app is gone. */
must_use int deploy_follow_removal(struct client *c, const char *app, uint32_t timeout_s);
/* Print WHY of a service, indented, on stderr. */
void deploy_print_why(struct client *c, const char *app, const char *service);

#endif
