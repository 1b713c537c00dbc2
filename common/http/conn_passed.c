/* A descriptor that comes with the bytes of a UNIX socket (unix(7), SCM_RIGHTS). Thread: the connection's serving
 * loop. */
#include "common/http/server_private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What one sendmsg may carry (SCM_MAX_FD of the kernel), so that none is installed and then lost track of. */
#define PASSED_MAX 253

/* Keeps the first descriptor that was passed since the last one was taken; closes the others. */
static void keep_first(struct http_conn *c, struct msghdr *msg) {
    for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h; h = CMSG_NXTHDR(msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof(fd), sizeof(fd));
            if (c->passed < 0)
                c->passed = fd;
            else
                close(fd);
        }
    }
}

ssize_t conn_recv_unix(struct http_conn *c, void *buf, size_t len) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(PASSED_MAX * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC);
    if (n < 0) return errno == EINTR ? -EAGAIN : -errno;
    keep_first(c, &msg);
    return n;
}

int http_req_take_passed(struct http_req *r) {
    int fd = r->conn->passed;
    r->conn->passed = -1;
    return fd;
}
