/* A TCP server whose every answer a test scripts: one thread a connection, one function call a request. Header only, so
 * that a test stays one file. Thread: started and stopped by the test; handle runs on the connection's thread. */
#ifndef ENTREPOT_TESTS_SCRIPTED_SERVER_H
#define ENTREPOT_TESTS_SCRIPTED_SERVER_H

#include "common/core/base.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SCRIPT_CONNECTIONS_MAX 256

struct script_server;
struct script_connection {
    struct script_server *server;
    pthread_t thread;
    int fd;
};

struct script_server {
    /* One request (head without body, NUL-terminated) has come. False closes the connection. */
    bool (*handle)(struct script_server *s, int fd, const char *head);
    void *arg;
    unsigned port;
    atomic_int connections, requests;
    int fd;
    pthread_t thread;
    struct script_connection conns[SCRIPT_CONNECTIONS_MAX];
};

static inline void script_send(int fd, const void *data, size_t len) {
    for (const char *p = data; len > 0;) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0) return;
        p += n;
        len -= (size_t)n;
    }
}

static inline void printf_like(2, 3) script_say(int fd, const char *fmt, ...) {
    char text[8192];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    script_send(fd, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

/* Until the other side has closed: how a stall is scripted. */
static inline void script_wait_closed(int fd) {
    char byte[256];
    while (recv(fd, byte, sizeof(byte), 0) > 0) {}
}

/* Close with a reset instead of a FIN. */
static inline void script_reset(int fd) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* The value of a request header ("Name: "), or "". */
static inline const char *script_header(const char *head, const char *name, char *out, size_t cap) {
    out[0] = '\0';
    for (const char *line = head; line; line = strstr(line, "\r\n") ? strstr(line, "\r\n") + 2 : NULL) {
        size_t n = strlen(name);
        if (strncasecmp(line, name, n) != 0 || line[n] != ':') continue;
        const char *value = line + n + 1 + strspn(line + n + 1, " ");
        snprintf(out, cap, "%.*s", (int)strcspn(value, "\r\n"), value);
    }
    return out;
}

static inline void *script_connection_main(void *arg) {
    struct script_connection *c = arg;
    char head[16384];
    size_t len = 0;
    for (;;) {
        ssize_t n = recv(c->fd, head + len, 1, 0);
        if (n <= 0 || len + 2 >= sizeof(head)) break;
        len += (size_t)n;
        head[len] = '\0';
        if (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0) continue;
        atomic_fetch_add(&c->server->requests, 1);
        len = 0;
        if (!c->server->handle(c->server, c->fd, head)) break;
    }
    /* The descriptor itself is closed by script_stop, which may be about to shut it down. */
    struct linger l;
    socklen_t size = sizeof(l);
    if (getsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, &size) == 0 && l.l_onoff) {
        struct sockaddr gone = {.sa_family = AF_UNSPEC};
        connect(c->fd, &gone, sizeof(gone)); /* a reset, now */
    } else {
        shutdown(c->fd, SHUT_RDWR);
    }
    return NULL;
}

static inline void *script_accept_main(void *arg) {
    struct script_server *s = arg;
    for (;;) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) return NULL;
        int i = atomic_load(&s->connections);
        if (i == SCRIPT_CONNECTIONS_MAX) abort();
        s->conns[i] = (struct script_connection){.server = s, .fd = fd};
        if (pthread_create(&s->conns[i].thread, NULL, script_connection_main, &s->conns[i]) != 0) abort();
        atomic_store(&s->connections, i + 1);
    }
}

static inline void script_listen(struct script_server *s, const struct sockaddr *addr, socklen_t len) {
    s->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(s->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (s->fd < 0 || bind(s->fd, addr, len) < 0 || listen(s->fd, 128) < 0) abort();
    if (pthread_create(&s->thread, NULL, script_accept_main, s) != 0) abort();
}

/* On this port of 127.0.0.1; 0: a free one. */
static inline void script_start_at(struct script_server *s, unsigned port,
                                   bool (*handle)(struct script_server *s, int fd, const char *head), void *arg) {
    memset(s, 0, sizeof(*s));
    s->handle = handle;
    s->arg = arg;
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons((in_port_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    script_listen(s, (struct sockaddr *)&in, sizeof(in));
    socklen_t len = sizeof(in);
    if (getsockname(s->fd, (struct sockaddr *)&in, &len) < 0) abort();
    s->port = ntohs(in.sin_port);
}

static inline void script_start(struct script_server *s,
                                bool (*handle)(struct script_server *s, int fd, const char *head), void *arg) {
    script_start_at(s, 0, handle, arg);
}

static inline void script_start_unix(struct script_server *s,
                                     bool (*handle)(struct script_server *s, int fd, const char *head),
                                     const char *path) {
    memset(s, 0, sizeof(*s));
    s->handle = handle;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    script_listen(s, (struct sockaddr *)&un, sizeof(un));
}

static inline void script_stop(struct script_server *s) {
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    int n = atomic_load(&s->connections);
    for (int i = 0; i < n; i++) {
        shutdown(s->conns[i].fd, SHUT_RDWR);
        pthread_join(s->conns[i].thread, NULL);
        close(s->conns[i].fd);
    }
}

#endif
