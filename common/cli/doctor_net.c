/* Resolving and connecting with a time limit. Thread: main. */
#include "common/cli/doctor_net.h"
#include "common/core/host_port.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { CONNECT_MS = 2000 };

static struct addrinfo *resolve(const char *host_port, char *why, size_t cap) {
    struct host_port hp;
    char port[12] = "80";
    bool taken = host_port_parse(&hp, host_port);
    if (taken && hp.port >= 0) snprintf(port, sizeof(port), "%d", hp.port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int r = getaddrinfo(taken ? hp.host : host_port, port, &hints, &list);
    if (r == 0) return list;
    snprintf(why, cap, "%s", r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
    return NULL;
}

bool net_resolves(const char *host_port, char *why, size_t cap) {
    struct addrinfo *list = resolve(host_port, why, cap);
    if (!list) return false;
    freeaddrinfo(list);
    return true;
}

/* 0 or errno. */
static int connect_to(const struct addrinfo *a) {
    _cleanup_(closep) int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return errno;
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0) return 0;
    if (errno != EINPROGRESS) return errno;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int n = poll(&p, 1, CONNECT_MS);
    if (n <= 0) return n == 0 ? ETIMEDOUT : errno;
    int code = 0;
    socklen_t len = sizeof(code);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0 ? errno : code;
}

bool net_connects(const char *host_port, char *why, size_t cap) {
    struct addrinfo *list = resolve(host_port, why, cap);
    int code = ENOENT;
    if (!list) return false;
    for (const struct addrinfo *a = list; a && code != 0; a = a->ai_next)
        code = connect_to(a);
    freeaddrinfo(list);
    if (code) snprintf(why, cap, "%s", strerror(code));
    return code == 0;
}
