/* The registry API over real fills: fill/world.h's sources and store, a server for clients and one for nodes, and a
 * client that says what kind of answer it got. Thread: the test's and those it starts, one a visit. */
#ifndef ENTREPOT_TESTS_SERVED_H
#define ENTREPOT_TESTS_SERVED_H

#include "tests/unit/common/fill/world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/serve/registry.h"

static struct {
    struct registry *registry;
    struct content *content;
    struct http_server *servers[2]; /* for clients, for nodes */
    unsigned ports[2];
    sem_t drained;
    int64_t answer_within_ms; /* as in struct policy; 0: 3 s */
    int64_t fresh_for_ms;     /* how long a tag is fresh */
    int64_t stale_for_s;      /* as in struct registry_config */
} served;

static inline const struct name_rules *served_rules(void *arg) {
    (void)arg;
    static const char *const upstreams[] = {"up"};
    static const struct name_rules rules = {.upstreams = upstreams, .n_upstreams = 1, .default_upstream = "up"};
    return &rules;
}

static inline const char *served_scope(const struct repo_name *repo, char out[REPO_STR_MAX], void *arg) {
    (void)arg;
    return repo_name_str(repo, out);
}

static inline int64_t served_fresh_for_ms(const struct repo_name *repo, void *arg) {
    (void)repo;
    (void)arg;
    return served.fresh_for_ms;
}

static inline void served_handle(struct http_req *req, void *arg) {
    static const struct caller client = {.kind = CALLER_CLIENT};
    (void)arg;
    registry_handle(served.registry, req, &client);
}

static inline void served_handle_node(struct http_req *req, void *arg) {
    static const struct caller node = {.kind = CALLER_NODE};
    (void)arg;
    registry_handle(served.registry, req, &node);
}

static inline void served_leave(void) {
    for (int i = 0; i < 2; i++)
        http_server_free(served.servers[i]);
    workpool_wait_idle(world.pool);
    world_settle();
    asker_cancel(world.asker);
    world_settle();
    registry_free(served.registry);
    content_free(served.content);
}

static inline void served_start(int64_t limit) {
    struct error err = {0};
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    world_start(limit);
    world.leave = served_leave;
    static struct policy policy;
    policy = (struct policy){.answer_within_ms = served.answer_within_ms ? served.answer_within_ms : 3000,
                             .rules = served_rules,
                             .scope = served_scope,
                             .fresh_for_ms = served_fresh_for_ms};
    served.content = content_new();
    content_set_store(served.content, world.store);
    struct registry_config rc = {.name = "test",
                                 .store = world.store,
                                 .fills = world.engine,
                                 .pool = world.pool,
                                 .reads = world.pool,
                                 .lists = world.pool,
                                 .list_threads = 1,
                                 .queue_of_one = 100,
                                 .queue = 1000,
                                 .fetch_loop = fetch_loop,
                                 .asker = world.asker,
                                 .stale_for_s = served.stale_for_s,
                                 .content = served.content,
                                 .policy = &policy};
    served.registry = registry_new(&rc);
    for (int i = 0; i < 2; i++) {
        struct http_server_config hc = {.address = "127.0.0.1:0",
                                        .loops = world.serving,
                                        .n_loops = SERVING,
                                        .reads = world.pool,
                                        .handler = i == 0 ? served_handle : served_handle_node};
        http_limits_default(&hc.limits);
        if (http_server_new(&served.servers[i], &hc, &err) != 0) fail_msg("%s", err.msg);
        served.ports[i] = http_server_port(served.servers[i]);
    }
}

static inline void served_on_drained(void *arg) {
    (void)arg;
    sem_post(&served.drained);
}

/* Cuts whoever is still being answered. */
static inline void served_stop(void) {
    sem_init(&served.drained, 0, 0);
    for (int i = 0; i < 2; i++)
        http_server_drain(served.servers[i], 0, served_on_drained, NULL);
    for (int i = 0; i < 2; i++)
        sem_wait(&served.drained);
    world_stop();
}

/* --- a client --- */

/* One request and its answer. */
struct visit {
    /* What it does. */
    char headers[512]; /* each with its line end */
    const char *method;
    bool by_node;
    int64_t after; /* comes when the first source has sent so much, or `behind` has got so much */
    const struct visit *behind;
    int64_t leave_at;                  /* leaves when it has so much of the body; 0: never */
    size_t sip;                        /* reads so much at a time, and rests; 0: all there is */
    const atomic_bool *trickles_until; /* until this is set it reads a byte at a time, and rests long */
    /* The blob it asks for. */
    const struct digest *digest;
    const char *tag;    /* instead, the manifest of that tag */
    const char *target; /* instead, this path */
    int64_t size;
    unsigned port;
    /* What it got. */
    char head[4096];
    int status;
    int64_t length; /* Content-Length; -1: none */
    unsigned char *body;
    _Atomic int64_t got;
    bool complete, timed_out;
    pthread_t thread;
};

static atomic_bool visits_wait_no_more;
static atomic_int visits_asked; /* requests that have been sent */

static inline bool visit_receive(struct visit *v, int fd, void *to, size_t len, size_t *got) {
    for (;;) {
        bool trickles = v->trickles_until && !atomic_load(v->trickles_until);
        ssize_t n = recv(fd, to, trickles ? 1 : v->sip && v->sip < len ? v->sip : len, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) v->timed_out = true;
        *got = n > 0 ? (size_t)n : 0;
        if (n > 0 && (v->sip || trickles)) usleep(trickles ? 20000 : 500); /* what makes it slow */
        return n > 0;
    }
}

static inline const char *visit_header(const struct visit *v, const char *name, char *out, size_t cap) {
    size_t len = strlen(name);
    for (const char *line = strstr(v->head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) != 0 || line[len] != ':') continue;
        snprintf(out, cap, "%.*s", (int)strcspn(line + len + 2, "\r"), line + len + 2);
        return out;
    }
    return NULL;
}

static inline bool visit_hear_head(struct visit *v, int fd) {
    size_t n = 0;
    while (n < 4 || memcmp(v->head + n - 4, "\r\n\r\n", 4) != 0) {
        ssize_t k = n + 1 < sizeof(v->head) ? recv(fd, v->head + n, 1, 0) : 0;
        if (k < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) v->timed_out = true;
        if (k != 1) return false;
        n++;
    }
    v->head[n] = '\0';
    char text[64];
    v->length = visit_header(v, "Content-Length", text, sizeof(text)) ? strtoll(text, NULL, 10) : -1;
    return sscanf(v->head, "HTTP/1.1 %d", &v->status) == 1;
}

/* In chunks, in place. True: to its end. */
static inline bool unchunk(struct visit *v) {
    int64_t from = 0, to = 0;
    for (;;) {
        char *end;
        v->body[v->got] = '\0';
        int64_t n = strtoll((char *)v->body + from, &end, 16);
        bool ok = end != (char *)v->body + from && end[0] == '\r' && end[1] == '\n';
        from = end + 2 - (char *)v->body;
        if (ok && n > 0 && from + n + 2 <= v->got) {
            memmove(v->body + to, v->body + from, (size_t)n);
            to += n;
            from += n + 2;
            continue;
        }
        v->got = to;
        return ok && n == 0;
    }
}

static inline void visit_hear_body(struct visit *v, int fd) {
    size_t cap = (size_t)v->size * 2 + 65536, n;
    if (strcmp(v->method, "HEAD") == 0 || v->status == 304) {
        v->complete = true;
        return;
    }
    v->body = malloc(cap + 1);
    int64_t want = v->length >= 0 ? v->length : (int64_t)cap;
    while (v->got < want && visit_receive(v, fd, v->body + v->got, (size_t)(want - v->got), &n)) {
        v->got += (int64_t)n;
        if (v->leave_at && v->got >= v->leave_at) return;
        if (v->length < 0 && v->got >= 5 && memcmp(v->body + v->got - 5, "0\r\n\r\n", 5) == 0) break;
    }
    v->complete = v->length >= 0 ? v->got == v->length : unchunk(v);
}

static inline void *visit_main(void *arg) {
    struct visit *v = arg;
    char digest[DIGEST_STR_MAX], path[512], request[1536];
    while (atomic_load(v->behind ? &v->behind->got : &world.sources[0]->sent) < v->after &&
           !atomic_load(&visits_wait_no_more))
        usleep(200);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 65536;
    struct timeval patience = {.tv_sec = 30};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (v->sip || v->trickles_until) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a.sin_port = htons((uint16_t)v->port);
    if (v->target)
        snprintf(path, sizeof(path), "%s", v->target);
    else
        snprintf(path, sizeof(path), "/v2/a/%s/%s", v->tag ? "manifests" : "blobs",
                 v->tag ? v->tag : digest_str(v->digest, digest));
    int n = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", v->method, path, v->headers);
    bool asked = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && send(fd, request, (size_t)n, MSG_NOSIGNAL) == n;
    atomic_fetch_add(&visits_asked, 1);
    if (asked && visit_hear_head(v, fd)) visit_hear_body(v, fd);
    close(fd);
    return NULL;
}

/* headers: each with its line end. */
static inline void visit_start(struct visit *v, const struct digest *d, int64_t size, const char *headers) {
    if (!v->method) v->method = "GET";
    v->digest = d;
    v->size = size;
    v->length = -1;
    v->port = served.ports[v->by_node ? 1 : 0];
    if (headers) snprintf(v->headers, sizeof(v->headers), "%s", headers);
    if (pthread_create(&v->thread, NULL, visit_main, v) != 0) abort();
}

static inline void visit_wait(struct visit *v) {
    pthread_join(v->thread, NULL);
    if (v->timed_out) fail_msg("no answer within 30 s; asked with %s, head %s", v->headers, v->head);
}

/* The whole answer to a request of this method, path and these headers, each with its line end. Its body ends with a
 * NUL. Free it with visit_clear. */
static inline struct visit visit_now(const char *method, const char *target, const char *headers) {
    struct visit v = {.method = method, .target = target};
    visit_start(&v, NULL, 0, headers);
    visit_wait(&v);
    if (!v.complete) fail_msg("%s %s was cut: %s", method, target, v.head);
    if (v.body) v.body[v.got] = '\0';
    return v;
}

static inline void visit_has(const struct visit *v, const char *name, const char *value) {
    char text[1024];
    if (!visit_header(v, name, text, sizeof(text))) fail_msg("no %s in %s", name, v->head);
    assert_string_equal(text, value);
}

static inline void visit_has_not(const struct visit *v, const char *name) {
    char text[1024];
    if (visit_header(v, name, text, sizeof(text))) fail_msg("%s: %s", name, text);
}

/* The code of an error document; HEAD has none. */
static inline void visit_is_error(const struct visit *v, int status, const char *code) {
    char start[128];
    if (v->status != status) fail_msg("%d instead of %d: %s%s", v->status, status, v->head, v->body);
    if (strcmp(v->method, "HEAD") == 0) return;
    visit_has(v, "Content-Type", "application/json");
    visit_has(v, "Docker-Distribution-Api-Version", "registry/2.0");
    snprintf(start, sizeof(start), "{\"errors\":[{\"code\":\"%s\",\"message\":\"", code);
    if (strncmp((char *)v->body, start, strlen(start)) != 0) fail_msg("not %s: %s", code, v->body);
}

static inline void visit_clear(struct visit *v) {
    free(v->body);
    memset(v, 0, sizeof(*v));
}

#endif
