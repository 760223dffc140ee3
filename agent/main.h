// SPDX-License-Identifier: Apache-2.0
/* agent/main.h - the role `orlop agent`. [any] */
#ifndef ORLOP_AGENT_MAIN_H
#define ORLOP_AGENT_MAIN_H

/* --run-dir DIR --state-dir DIR --node NAME (each may be missing). Returns the exit code: 0 after
 * SIGTERM (everything else lives on) and SIGUSR1 (all sandboxes are ended, nothing of ours is left
 * in the kernel); 1 when it cannot start or go on, the sentence is in the log. */
int agent_main(int argc, char **argv);

#endif
