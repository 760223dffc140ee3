// SPDX-License-Identifier: Apache-2.0
/* tests/hostile/attack/attack.h - what runs inside the sandbox: one static program, one attack a
 * file. Each prints what it reached, one line a thing, and nothing else; the assertion is made
 * outside. libc only.
 */
#ifndef ORLOP_TESTS_HOSTILE_ATTACK_H
#define ORLOP_TESTS_HOSTILE_ATTACK_H

int attack_cgroup(int argc, char **argv);
int attack_descriptors(int argc, char **argv);
int attack_executables(int argc, char **argv);
int attack_knock(int argc, char **argv);
int attack_memory(int argc, char **argv);
int attack_move_dev(int argc, char **argv);
int attack_read(int argc, char **argv);
int attack_scan(int argc, char **argv);
int attack_syscalls(int argc, char **argv);
int attack_terminal(int argc, char **argv);
int attack_write(int argc, char **argv);

#endif
