// SPDX-License-Identifier: Apache-2.0
/* What a seqpacket socket says to a stranger who asks. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "attack.h"

int attack_knock(int argc, char **argv) {
    static const char list_request[] = {8, 1, 50, 0}; /* KeeperRequest: id 1, LIST */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char answer[4096];
    if (argc != 2 || strlen(argv[1]) >= sizeof a.sun_path) return 2;
    memcpy(a.sun_path, argv[1], strlen(argv[1]));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *) &a, sizeof a) < 0) return 0;
    (void) send(fd, list_request, sizeof list_request, MSG_NOSIGNAL);
    ssize_t n = recv(fd, answer, sizeof answer, 0);
    if (n > 0) printf("%zd bytes\n", n);
    (void) close(fd);
    return 0;
}
