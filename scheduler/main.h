// SPDX-License-Identifier: Apache-2.0
/* scheduler/main.h - `orlop scheduler --run-dir DIR --state-dir DIR`. */
#ifndef ORLOP_SCHEDULER_MAIN_H
#define ORLOP_SCHEDULER_MAIN_H

/* Runs until SIGTERM or SIGINT. 0; 1 = failed (the reason was logged); 2 = wrong arguments. */
int scheduler_main(int argc, char **argv);

#endif
