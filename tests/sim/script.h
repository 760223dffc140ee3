// SPDX-License-Identifier: Apache-2.0
/* tests/sim/script.h - golden traces: a scenario of commands, and what they cause.
 *
 * Lines that start with "$ " are commands, those with "#" are for people, the others what happened.
 * Nothing happens by itself: every delay is a millisecond, nothing fails unless a command says so.
 *
 *   service|network|volume ...   apply|scale|restart|remove ...   (manifest_text.h, README.md)
 *   run MS                                 time passes
 *   kill|start agent|keeper|anchor|scheduler
 *   power                                  loss of it; nothing is started again
 *   wipe                                   the agent's store is lost
 *   halt | leave                           the agent is told to stop the node, to end
 *   hold keeper|up|down, free              packets to the keeper, a session's messages wait
 *   drop N                                 the next N sets are lost
 *   cut, join                              the agent's connection
 *   view fails|works   disk full|free      the rules cannot be loaded; the agent's disk
 *   exit TASK-NAME CODE
 *   rest                                   until all is as it is wanted, at most 25 minutes
 */
#ifndef ORLOP_TESTS_SIM_SCRIPT_H
#define ORLOP_TESTS_SIM_SCRIPT_H

/* 0: the trace is as the file says. SCENARIO_UPDATE=1 writes the file anew. */
int script_run(const char *path);

#endif
