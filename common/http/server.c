/* Listeners, limits and drain of the HTTP server. Thread: control for new and free; each loop_share belongs to its
 * serving loop. */
#include "common/http/server_private.h"

#include "common/core/host_port.h"
#include "common/core/alloc.h"
#include "common/core/clock.h"
#include "common/core/log.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define SWEEP_MS 500
/* Connections of a loop that a sweep looks at, at least, and what part of all: with thousands, most of which wait, a look
 * at each twice a second costs as much as what they ask for. */
#define SWEEP_LEAST 64
#define SWEEP_PARTS 4
#define ACCEPTS_PER_EVENT 64
#define BACKLOG 1024

void http_limits_default(struct http_limits *l) {
    *l = (struct http_limits){
        .head_bytes = 32 * 1024,
        .head_ms = 10000,
        .idle_ms = 120000,
        .send_stall_ms = 60000,
        .body_rate_bytes_per_s = 1024,
        .conns_per_addr = 2048,
        .conns = 20000,
    };
}

/* --- addresses --- */

/* "host:port", ":port", "[v6]:port" to a socket address. */
static int resolve_listen(const char *address, struct sockaddr_storage *out, socklen_t *len, struct error *err) {
    struct host_port hp;
    if (!host_port_parse(&hp, address) || hp.port < 0)
        return error_set(err, ERR_INVALID, "%s: an address is HOST:PORT", address);
    char port[12];
    const char *name = hp.host;
    snprintf(port, sizeof(port), "%d", hp.port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found = NULL;
    if (!*name) hints.ai_family = AF_INET6;
    int r = getaddrinfo(*name ? name : NULL, port, &hints, &found);
    if (r != 0 && !*name) {
        hints.ai_family = AF_INET;
        r = getaddrinfo(NULL, port, &hints, &found);
    }
    if (r != 0) return error_set(err, ERR_INVALID, "%s: %s", address, gai_strerror(r));
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static void set_port(struct sockaddr_storage *a, unsigned port) {
    if (a->ss_family == AF_INET)
        ((struct sockaddr_in *)(void *)a)->sin_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in6 *)(void *)a)->sin6_port = htons((uint16_t)port);
}

static unsigned get_port(int fd) {
    struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(a);
    if (getsockname(fd, (struct sockaddr *)&a, &len) < 0) return 0;
    if (a.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)(void *)&a)->sin_port);
    if (a.ss_family == AF_INET6) return ntohs(((struct sockaddr_in6 *)(void *)&a)->sin6_port);
    return 0;
}

static int open_socket(const struct sockaddr_storage *a, socklen_t len, bool shared) {
    int fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int one = 1, zero = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (shared) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* what is accepted inherits it */
    if (a->ss_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    if (bind(fd, (const struct sockaddr *)a, len) < 0 || (shared && listen(fd, BACKLOG) < 0)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static int bind_error(struct error *err, const char *address) {
    int saved = errno;
    int r = error_errno(err, "listening on %s", address);
    if (saved == EADDRINUSE)
        error_hint(err, "something already listens there: stop it, or choose another address with --set "
                        "(registry.listen, admin.listen, …)");
    if (saved == EADDRNOTAVAIL)
        error_hint(err,
                   "no interface of this machine has that address (`ip address` lists them); \":PORT\" is all of them");
    if (saved == EACCES) error_hint(err, PORT_BELOW_1024_HINT);
    return r;
}

/* With SO_REUSEPORT a second daemon of the same user could share the port unnoticed. A first bind without it fails if
 * the port is in use. *a: the address, with *port chosen if it was 0. */
static int listen_probe(const char *address, struct sockaddr_storage *a, socklen_t *len, unsigned *port,
                        struct error *err) {
    int r = resolve_listen(address, a, len, err);
    if (r < 0) return r;
    int probe = open_socket(a, *len, false);
    if (probe < 0 && a->ss_family == AF_INET6 && errno == EAFNOSUPPORT && address[0] == ':') {
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = ((struct sockaddr_in6 *)(void *)a)->sin6_port};
        memcpy(a, &any, sizeof(any));
        *len = sizeof(any);
        probe = open_socket(a, *len, false);
    }
    if (probe < 0) return bind_error(err, address);
    /* A bound socket that does not listen keeps others from binding exclusively, not from listening with REUSEPORT:
     * listen tells. */
    if (listen(probe, 1) < 0) r = bind_error(err, address);
    *port = get_port(probe);
    close(probe);
    return r;
}

int http_listen_check(const char *address, struct error *err) {
    struct sockaddr_storage a = {0};
    socklen_t len = 0;
    unsigned port;
    return listen_probe(address, &a, &len, &port, err);
}

static int listen_tcp(struct http_server *s, struct error *err) {
    struct sockaddr_storage a = {0};
    socklen_t len = 0;
    int r = listen_probe(s->cfg.address, &a, &len, &s->port, err);
    if (r < 0) return r;
    set_port(&a, s->port);
    for (unsigned i = 0; i < s->n_loops; i++) {
        s->shares[i]->listen_fd = open_socket(&a, len, true);
        if (s->shares[i]->listen_fd < 0) return bind_error(err, s->cfg.address);
    }
    return 0;
}

/* A socket file that nothing listens on is replaced; one on which a process answers is an error. */
static int listen_unix(struct http_server *s, const char *path, struct error *err) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(a.sun_path)) {
        error_set(err, ERR_INVALID, "%s: a socket's path has at most %zu bytes", path, sizeof(a.sun_path) - 1);
        error_hint(err, "choose a data folder with a shorter path");
        return ERR_INVALID;
    }
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return error_errno(err, "making a socket");
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0) {
        close(fd);
        return error_set(err, ERR_BUSY, "another process answers on %s", path);
    }
    /* EAGAIN means that the backlog is full, so a process listens there. A file that is not a socket is not removed. */
    struct stat st;
    if (errno == EAGAIN || (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))) {
        close(fd);
        return error_set(err, ERR_BUSY, "%s is in use, or is not a socket", path);
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        int r = error_errno(err, "removing the old %s", path);
        close(fd);
        return r;
    }
    mode_t old = umask(0177);
    int r = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, BACKLOG) < 0
                ? error_errno(err, "listening on %s", path)
                : 0;
    umask(old);
    if (r < 0) {
        close(fd);
        return r;
    }
    memcpy(s->unix_path, path, strlen(path) + 1);
    s->shares[0]->listen_fd = fd;
    return 0;
}

/* --- callbacks --- */

void loop_share_enter(struct loop_share *sh) {
    sh->now_ms = loop_enter(sh->loop) / 1000;
    sh->frees_dead = true;
}

/* --- accepting --- */

/* Counts a connection of an address (of IPv6: of its /64), or of a certified name; false if it has too many. */
static bool count_in(struct http_server *s, struct map *counts, const void *who, size_t len) {
    pthread_mutex_lock(&s->count_lock);
    uintptr_t n = (uintptr_t)map_get(counts, who, len);
    bool ok = n < s->cfg.limits.conns_per_addr;
    if (ok) map_set(counts, who, len, (void *)(n + 1));
    pthread_mutex_unlock(&s->count_lock);
    return ok;
}

static void count_out(struct http_server *s, struct map *counts, const void *who, size_t len) {
    pthread_mutex_lock(&s->count_lock);
    uintptr_t n = (uintptr_t)map_get(counts, who, len);
    if (n <= 1)
        map_take(counts, who, len);
    else
        map_set(counts, who, len, (void *)(n - 1));
    pthread_mutex_unlock(&s->count_lock);
}

bool share_conn_certified(struct http_conn *c) {
    struct http_server *s = c->share->server;
    const char *name = c->peer ? c->peer->name : "";
    if (!name[0] || c->counted != COUNTED_BY_ADDRESS) return true;
    count_out(s, s->addrs, &c->addr, sizeof(c->addr));
    bool ok = count_in(s, s->names, name, strlen(name));
    c->counted = ok ? COUNTED_BY_NAME : NOT_COUNTED;
    if (!ok) atomic_fetch_add_explicit(&s->refused, 1, memory_order_relaxed);
    return ok;
}

static struct ip ip_of(const struct sockaddr *sa) {
    struct ip ip = {{0}};
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (sa->sa_family == AF_INET) {
        memcpy(ip.bytes, mapped, sizeof(mapped));
        memcpy(ip.bytes + sizeof(mapped), &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        memcpy(ip.bytes, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, sizeof(ip.bytes));
    }
    return ip;
}

/* False: a connection of this address is not counted. */
static bool counts(const struct http_limits *l, const struct ip *ip) {
    for (size_t i = 0; i < l->n_not_counted; i++)
        if (network_has(&l->not_counted[i], ip)) return false;
    return l->conns_per_addr > 0;
}

/* Over the limit, the connection that has been idle (or in its head) for longest makes room. */
static bool make_room(struct loop_share *sh) {
    struct http_server *s = sh->server;
    if (atomic_load_explicit(&s->connections, memory_order_relaxed) < (int64_t)s->cfg.limits.conns) return true;
    struct http_conn *oldest = TAILQ_FIRST(&sh->idle);
    if (oldest) conn_abort(oldest);
    return oldest != NULL;
}

/* A client that speaks TLS could not read the message. A client that has sent nothing yet is taken for one that does not
 * speak TLS. */
static bool speaks_plain(const struct http_server *s, int fd) {
    unsigned char first = 0;
    if (s->cfg.tls_mode != HTTP_TLS_EITHER) return s->cfg.tls_mode == HTTP_TLS_OFF;
    return recv(fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) <= 0 || first != TLS_HANDSHAKE;
}

static void refuse(struct http_server *s, int fd) {
    char body[512], answer[1024], request[4096];
    struct http_error_form form;
    size_t len = reply_error_body(s, 503, "", TOO_MANY_CONNECTIONS, body, sizeof(body), &form);
    int n = snprintf(answer, sizeof(answer),
                     "HTTP/1.1 503 Service Unavailable\r\nContent-Type: %s\r\nContent-Length: %zu\r\nRetry-After: 1\r\n"
                     "Connection: close\r\n%s\r\n%.*s",
                     form.content_type, len, form.lines, (int)len, body);
    atomic_fetch_add_explicit(&s->refused, 1, memory_order_relaxed);
    if (speaks_plain(s, fd) && send(fd, answer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) errno = 0;
    /* Unread bytes would cause a reset, which could destroy the answer. */
    shutdown(fd, SHUT_WR);
    if (recv(fd, request, sizeof(request), MSG_DONTWAIT) < 0) errno = 0;
    close(fd);
}

static void admit(struct loop_share *sh, int fd, const struct sockaddr *sa) {
    struct http_server *s = sh->server;
    struct ip ip = ip_of(sa), key = ip_client_prefix(&ip);
    bool counted = counts(&s->cfg.limits, &ip);
    /* The address is checked first, so that one with too many connections does not close those of others. */
    if (counted && !count_in(s, s->addrs, &key, sizeof(key))) {
        refuse(s, fd);
        return;
    }
    if (!make_room(sh)) {
        if (counted) count_out(s, s->addrs, &key, sizeof(key));
        refuse(s, fd);
        return;
    }
    atomic_fetch_add_explicit(&s->accepted, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->connections, 1, memory_order_relaxed);
    conn_new(sh, fd, sa, counted ? &key : NULL);
}

static void on_accept(evutil_socket_t fd, short what, void *arg) {
    (void)what;
    struct loop_share *sh = arg;
    loop_share_enter(sh);
    for (int i = 0; i < ACCEPTS_PER_EVENT; i++) {
        struct sockaddr_storage a = {0};
        socklen_t len = sizeof(a);
        int conn = accept4(fd, (struct sockaddr *)&a, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (conn >= 0) {
            admit(sh, conn, (struct sockaddr *)&a);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno != EAGAIN) {
            /* Descriptors or memory are out. The listener stays ready, so the loop would spin. */
            log_warn("accept_failed", KV_I("errno", errno));
            event_del(sh->ev_listen);
            timer_set(&sh->accept_again, 100);
        }
        break;
    }
    conn_free_dead(sh);
}

static void on_accept_again(void *arg) {
    struct loop_share *sh = arg;
    if (sh->ev_listen) event_add(sh->ev_listen, NULL);
}

/* --- the loop's share --- */

static void check_drained(struct loop_share *sh) {
    if (!sh->draining || sh->drained || !TAILQ_EMPTY(&sh->all)) return;
    sh->drained = true;
    /* Called from the loop itself: after the last call the server may be freed. */
    loop_post(sh->loop, &sh->finish);
}

void share_conn_closed(struct http_conn *c) {
    struct http_server *s = c->share->server;
    if (c->counted == COUNTED_BY_ADDRESS) count_out(s, s->addrs, &c->addr, sizeof(c->addr));
    if (c->counted == COUNTED_BY_NAME) count_out(s, s->names, c->peer->name, strlen(c->peer->name));
    atomic_fetch_sub_explicit(&s->connections, 1, memory_order_relaxed);
    check_drained(c->share);
}

static void on_sweep(void *arg) {
    struct loop_share *sh = arg;
    const struct http_peers *peers = sh->server->cfg.peers;
    loop_share_enter(sh);
    uint64_t changes = peers ? peers->changes(peers->arg) : 0;
    size_t part = sh->n_all / SWEEP_PARTS + 1;
    size_t n = changes != sh->peer_changes ? sh->n_all : part > SWEEP_LEAST ? part : SWEEP_LEAST;
    sh->peer_changes = changes;
    if (n > sh->n_all) n = sh->n_all;
    /* What was looked at goes to the end. */
    for (struct http_conn *c; n > 0 && (c = TAILQ_FIRST(&sh->all)); n--) {
        TAILQ_REMOVE(&sh->all, c, all_link);
        TAILQ_INSERT_TAIL(&sh->all, c, all_link);
        conn_sweep(c);
    }
    conn_free_dead(sh);
    if (!sh->drained) timer_set(&sh->sweep, SWEEP_MS);
}

static void flush(struct loop_share *sh) {
    loop_share_enter(sh);
    struct http_conn *c;
    sh->flush_round++;
    do {
        c = TAILQ_FIRST(&sh->dirty);
        if (!c || c->dirty_round == sh->flush_round) break;
        conn_turn(c);
    } while (!share_is_late(sh));
    if (TAILQ_FIRST(&sh->dirty)) timer_set(&sh->later, 0);
    conn_free_dead(sh);
}

static void on_flush(struct loop_task *task) {
    flush(container_of(task, struct loop_share, flush));
}

static void on_later(void *arg) {
    flush(arg);
}

static void listen_now(struct loop_share *sh) {
    sh->ev_listen = event_new(loop_base(sh->loop), sh->listen_fd, EV_READ | EV_PERSIST, on_accept, sh);
    if (!sh->ev_listen) out_of_memory();
    if (event_add(sh->ev_listen, NULL) != 0) abort();
    timer_set(&sh->sweep, SWEEP_MS);
}

static void on_start(struct loop_task *task) {
    struct loop_share *sh = container_of(task, struct loop_share, start);
    if (sh->abandoned)
        free(sh);
    else if (!sh->draining)
        listen_now(sh);
}

static void cut_all(void *arg) {
    struct loop_share *sh = arg;
    struct http_conn *c;
    while ((c = TAILQ_FIRST(&sh->all)))
        conn_abort(c);
    conn_free_dead(sh);
}

static void close_listener(struct loop_share *sh) {
    if (sh->ev_listen) event_free(sh->ev_listen);
    sh->ev_listen = NULL;
    if (sh->accept_again.ev) timer_clear(&sh->accept_again);
    if (sh->listen_fd >= 0) close(sh->listen_fd);
    sh->listen_fd = -1;
}

/* Closes connections that would not close by themselves. */
static void tell_stop(struct loop_share *sh) {
    loop_share_enter(sh);
    for (struct http_conn *c = TAILQ_FIRST(&sh->all), *next; c; c = next) {
        next = TAILQ_NEXT(c, all_link);
        void (*fn)(struct http_req *) = c->req ? c->req->on_stop : NULL;
        if (!fn) continue;
        c->req->on_stop = NULL;
        fn(c->req);
        if (next && next->state == CONN_DEAD) next = TAILQ_FIRST(&sh->all); /* each is told once */
    }
}

static void on_drain_task(struct loop_task *task) {
    struct loop_share *sh = container_of(task, struct loop_share, drain);
    sh->draining = true;
    close_listener(sh);
    timer_set(&sh->grace, sh->server->grace_ms);
    struct http_conn *c;
    while ((c = TAILQ_FIRST(&sh->idle)))
        conn_abort(c);
    tell_stop(sh);
    conn_free_dead(sh);
    check_drained(sh);
}

void http_server_drain(struct http_server *s, int64_t grace_ms, void (*done)(void *arg), void *arg) {
    s->grace_ms = grace_ms;
    s->drained = done;
    s->drained_arg = arg;
    atomic_store(&s->shares_left, s->n_loops);
    for (unsigned i = 0; i < s->n_loops; i++) {
        s->shares[i]->drain.fn = on_drain_task;
        loop_post(s->shares[i]->loop, &s->shares[i]->drain);
    }
}

static struct loop_share *share_new(struct http_server *s, struct loop *l, unsigned index) {
    struct loop_share *sh = xcalloc(1, sizeof(*sh));
    sh->server = s;
    sh->loop = l;
    sh->index = index;
    sh->listen_fd = -1;
    TAILQ_INIT(&sh->all);
    TAILQ_INIT(&sh->idle);
    TAILQ_INIT(&sh->dirty);
    TAILQ_INIT(&sh->dead);
    return sh;
}

/* On the loop's thread, or when the loop does not run, because events belong to its base. */
static void finish(struct loop_share *sh) {
    if (sh->finished) return;
    sh->finished = sh->drained = true;
    cut_all(sh);
    close_listener(sh);
    timer_fini(&sh->sweep);
    timer_fini(&sh->accept_again);
    timer_fini(&sh->later);
    timer_fini(&sh->grace);
    while (sh->free_reqs) {
        struct http_req *r = sh->free_reqs;
        sh->free_reqs = r->next_free;
        buf_fini(&r->extra);
        free(r);
    }
}

/* Nothing of the share or its server may be touched after the count. */
static void on_finish(struct loop_task *task) {
    struct loop_share *sh = container_of(task, struct loop_share, finish);
    struct http_server *s = sh->server;
    finish(sh);
    if (atomic_fetch_sub(&s->shares_left, 1) == 1) loop_call(s->shares[0]->loop, s->drained, s->drained_arg);
}

int http_server_new(struct http_server **out, const struct http_server_config *cfg, struct error *err) {
    struct http_server *s = xcalloc(1, sizeof(*s));
    s->cfg = *cfg;
    const char *path = strncmp(cfg->address, "unix:", 5) == 0 ? cfg->address + 5 : NULL;
    s->n_loops = path ? 1 : cfg->n_loops;
    pthread_mutex_init(&s->count_lock, NULL);
    s->addrs = map_new(NULL);
    s->names = map_new(NULL);
    s->shares = xcalloc(s->n_loops, sizeof(*s->shares));
    for (unsigned i = 0; i < s->n_loops; i++)
        s->shares[i] = share_new(s, cfg->loops[i], i);
    int r = path ? listen_unix(s, path, err) : listen_tcp(s, err);
    s->cfg.address = NULL;
    s->cfg.loops = NULL;
    if (r < 0) {
        for (unsigned i = 0; i < s->n_loops; i++) {
            close_listener(s->shares[i]);
            free(s->shares[i]);
        }
        free(s->shares);
        map_free(s->addrs);
        map_free(s->names);
        free(s);
        return r;
    }
    for (unsigned i = 0; i < s->n_loops; i++) {
        struct loop_share *sh = s->shares[i];
        timer_init(&sh->sweep, sh->loop, on_sweep, sh);
        timer_init(&sh->accept_again, sh->loop, on_accept_again, sh);
        timer_init(&sh->later, sh->loop, on_later, sh);
        sh->flush.fn = on_flush;
        timer_init(&sh->grace, sh->loop, cut_all, sh);
        sh->start.fn = on_start;
        sh->finish.fn = on_finish;
        loop_post(sh->loop, &sh->start);
    }
    *out = s;
    return 0;
}

unsigned http_server_port(const struct http_server *s) {
    return s->port;
}

void http_server_free(struct http_server *s) {
    if (!s) return;
    for (unsigned i = 0; i < s->n_loops; i++) {
        struct loop_share *sh = s->shares[i];
        finish(sh);
        /* The loop may never have run. Then on_start is still in its mailbox, and frees the share. */
        sh->abandoned = true;
        if (!atomic_load(&sh->start.waiting)) free(sh);
    }
    if (s->unix_path[0]) unlink(s->unix_path);
    map_free(s->addrs);
    map_free(s->names);
    pthread_mutex_destroy(&s->count_lock);
    free(s->shares);
    free(s);
}

void http_server_stats(const struct http_server *s, struct http_stats *out) {
    *out = (struct http_stats){
        .connections = atomic_load_explicit(&s->connections, memory_order_relaxed),
        .accepted = atomic_load_explicit(&s->accepted, memory_order_relaxed),
        .refused = atomic_load_explicit(&s->refused, memory_order_relaxed),
        .requests = atomic_load_explicit(&s->requests, memory_order_relaxed),
        .bad_requests = atomic_load_explicit(&s->bad_requests, memory_order_relaxed),
    };
}
