// SPDX-License-Identifier: Apache-2.0
/* tests/unit/keeper/node.h - an anchor and a keeper of their own for one test: private directories,
 * a private mount namespace, containers without namespaces (fake_container.c). */
#ifndef TESTS_KEEPER_NODE_H
#define TESTS_KEEPER_NODE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/base/paths.h"
#include "runtime/keeper/client.h"

struct node {
    struct paths paths;
    char dir[64];
    char program[128]; /* what runs as anchor and keeper */
    pid_t anchor;
    struct keeper_client *client;
    uint64_t next_id;
    struct { /* exits that came as events */
        char task[64];
        uint32_t attempt;
        int wait_status;
        bool known;
    } exits[128];
    size_t n_exits;
};

/* Needs root; false = not possible here (say why on stderr and skip). */
bool node_possible(void);
void node_start(struct node *n);
void node_anchor(struct node *n);        /* one more, after the first has ended */
void node_new_anchor(struct node *n);    /* the same of an executable with other bytes */
void node_connect(struct node *n);       /* waits for the keeper; again after its death */
pid_t node_keeper(const struct node *n); /* pid by its lock, waits until there is one */
pid_t node_other_keeper(
    const struct node *n);             /* one that no anchor has started; there must be none */
void node_kill_keeper(struct node *n); /* SIGKILL, and connect to the next one */
void node_settle(struct node *n);      /* until the keeper has told all to the anchor that is now */
/* Send and wait for the answer to it; events are collected. NULL: the connection broke. */
Orlop__KeeperMessage *node_call(struct node *n, Orlop__KeeperRequest *req, const int *fds,
                                size_t n_fds);
bool node_pump(struct node *n, int timeout_ms); /* collect events; false: the connection broke */
/* Start `/bin/sh -c SCRIPT`. */
Orlop__KeeperMessage *node_sh(struct node *n, const char *task, uint32_t attempt,
                              const char *script);
Orlop__KeeperMessage *node_task(struct node *n, Orlop__KeeperRequest__WhatCase what,
                                const char *task);
/* The exit event of an attempt, waited for. Index in exits. */
size_t node_exit(struct node *n, const char *task, uint32_t attempt);
void node_stop(struct node *n); /* closes all tasks, ends anchor and keeper, removes everything */

#endif
