// SPDX-License-Identifier: Apache-2.0
/* cli/project.h - from -f, -p and friends to a Compose project or just its name.
 *
 * Thread   one.
 */
#ifndef ORLOP_CLI_PROJECT_H
#define ORLOP_CLI_PROJECT_H

#include <stdbool.h>

#include "cli.h"
#include "cli/compose/compose.h"

/* Load the project. 0, or EXIT_MANIFEST with all findings printed. *ret is to be freed after 0
 * only. */
must_use int project_load(struct cli *cli, const struct compose_options *extra,
                          struct compose_project **ret);

/* The app's name: -p, COMPOSE_PROJECT_NAME, or that of the Compose file. With ANY, no Compose file
 * means NULL: all apps. *ret_name is the caller's (mem_free). 0 or an exit code. */
must_use int project_app(struct cli *cli, bool any, char **ret_name);

#endif
