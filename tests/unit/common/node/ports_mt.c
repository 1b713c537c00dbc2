/* A node's addresses: what is taken is told at once and with its keys, and what cannot open leaves nothing open. */
#include "common/node/ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/support/folder.h"

/* A node without parts, of which only the ports are opened. */
struct stand_in {
    char dir[64];
    char listen[3][64]; /* registry, fleet, admin */
    unsigned port_of[3];
    struct node_config config;
    struct node node;
    struct loop *serving, *loops[2];
    struct health *health;
    struct ports *ports;
    sem_t drained;
};

enum { REGISTRY, FLEET, ADMIN };

static bool set_address(struct sockaddr_storage *a, socklen_t *len, const char *host, unsigned port) {
    struct sockaddr_in *v4 = (void *)a;
    struct sockaddr_in6 *v6 = (void *)a;
    memset(a, 0, sizeof(*a));
    a->ss_family = strchr(host, ':') ? AF_INET6 : AF_INET;
    *len = a->ss_family == AF_INET6 ? sizeof(*v6) : sizeof(*v4);
    if (a->ss_family == AF_INET6) {
        v6->sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
    }
    v4->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

/* Somebody who listens on this host, at a port of the system's choice; -1: this machine has no such address. */
static int listen_on(const char *host, unsigned *port) {
    struct sockaddr_storage a;
    socklen_t len;
    assert_true(set_address(&a, &len, host, 0));
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, 1) < 0) {
        if (fd >= 0) close(fd);
        return -1;
    }
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&a)->sin6_port
                                          : ((struct sockaddr_in *)(void *)&a)->sin_port);
    return fd;
}

static int dial(const char *host, unsigned port) {
    struct sockaddr_storage a;
    socklen_t len;
    struct timeval patience = {.tv_sec = 20};
    assert_true(set_address(&a, &len, host, port));
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&a, len) == 0) return fd;
    close(fd);
    return -1;
}

static void nobody_listens(unsigned port) {
    assert_int_equal(dial("127.0.0.1", port), -1);
    assert_int_equal(errno, ECONNREFUSED);
}

/* The registry port answers. */
static void answers(const char *host, unsigned port) {
    char text[2048];
    size_t got = 0;
    ssize_t n;
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    int fd = dial(host, port);
    if (fd < 0) fail_msg("nobody listens on %s, port %u", host, port);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    while (got + 1 < sizeof(text) && (n = recv(fd, text + got, sizeof(text) - 1 - got, 0)) > 0)
        got += (size_t)n;
    text[got] = '\0';
    close(fd);
    if (!strstr(text, "This is an Entrepot registry")) fail_msg("%s", text);
}

static void listens_on(struct stand_in *s, int which, const char *host, unsigned port) {
    snprintf(s->listen[which], sizeof(s->listen[which]), "%s:%u", host, port);
}

/* Its addresses are free ones of 127.0.0.1. */
static void make(struct stand_in *s) {
    memset(s, 0, sizeof(*s));
    snprintf(s->dir, sizeof(s->dir), "/tmp/entrepot-ports-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    int held[3];
    for (int i = 0; i < 3; i++) {
        held[i] = listen_on("127.0.0.1", &s->port_of[i]);
        assert_true(held[i] >= 0);
        listens_on(s, i, "127.0.0.1", s->port_of[i]);
    }
    for (int i = 0; i < 3; i++)
        close(held[i]);
    s->config = (struct node_config){.kind = NODE_CENTRAL,
                                     .program = "entrepot-central",
                                     .data = s->dir,
                                     .registry_listen = s->listen[REGISTRY],
                                     .node_listen = s->listen[FLEET],
                                     .admin_listen = s->listen[ADMIN],
                                     .conns_per_addr = 100,
                                     .conns = 100,
                                     .head_ms = 20000,
                                     .idle_ms = 20000,
                                     .send_stall_ms = 20000,
                                     .head_bytes = 32768};
    s->serving = loop_new("serving");
    s->loops[0] = s->serving;
    s->health = health_new();
    s->node = (struct node){.config = &s->config,
                            .control = loop_new("control"),
                            .serving = &s->serving,
                            .n_serving = 1,
                            .pool = workpool_new("pool", 1),
                            .reads = workpool_new("reads", 1)};
}

static int open_ports(struct stand_in *s, struct error *err) {
    static const char *const names[] = {"serving"};
    const struct ports_config pc = {
        .health = s->health, .loops = s->loops, .loop_names = names, .n_loops = 1, .max_connections = 100};
    return ports_open(&s->ports, &s->node, &pc, err);
}

static void open_and_run(struct stand_in *s) {
    struct error err = {0};
    if (open_ports(s, &err) < 0) fail_msg("%s", err.msg);
    loop_start(s->serving);
    loop_start(s->node.control);
}

static void on_drained(void *arg) {
    sem_post(&((struct stand_in *)arg)->drained);
}

static void drain(void *arg) {
    struct stand_in *s = arg;
    ports_drain(s->ports, 0, on_drained, s);
}

static void end(struct stand_in *s) {
    if (s->ports) {
        sem_init(&s->drained, 0, 0);
        loop_call(s->node.control, drain, s);
        sem_wait(&s->drained);
        loop_stop(s->serving);
        loop_join(s->serving);
        loop_stop(s->node.control);
        loop_join(s->node.control);
        ports_free_servers(s->ports);
    }
    workpool_wait_idle(s->node.pool);
    workpool_wait_idle(s->node.reads);
    while (loop_run_pending(s->serving)) {}
    workpool_free(s->node.pool);
    workpool_free(s->node.reads);
    ports_free(s->ports);
    loop_free(s->serving);
    loop_free(s->node.control);
    health_free(s->health);
    assert_int_equal(folder_remove(s->dir), 0);
}

static void has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" is not in: %s", part, text);
}

static void has_not(const char *text, const char *part) {
    if (strstr(text, part)) fail_msg("\"%s\" is in: %s", part, text);
}

static void all_addresses_that_are_taken_are_told_at_once(void **state) {
    (void)state;
    struct stand_in s;
    struct error err = {0};
    unsigned fleet, admin;
    int a = listen_on("127.0.0.1", &fleet), b = listen_on("127.0.0.1", &admin);
    make(&s);
    listens_on(&s, FLEET, "127.0.0.1", fleet);
    listens_on(&s, ADMIN, "127.0.0.1", admin);
    assert_int_equal(open_ports(&s, &err), -EADDRINUSE);
    assert_null(s.ports);
    has(err.msg, "fleet.listen: ");
    has(err.msg, s.listen[FLEET]);
    has(err.msg, "admin.listen: ");
    has(err.msg, s.listen[ADMIN]);
    has_not(err.msg, "registry.listen");
    has(err.hint, "something already listens there: stop it, or choose other addresses with");
    has(err.hint, " --set fleet.listen=HOST:PORT (and the same in the key central of its edges)");
    has(err.hint, " --set admin.listen=HOST:PORT");
    has_not(err.hint, "registry.listen");
    nobody_listens(s.port_of[REGISTRY]);
    close(a);
    close(b);
    listens_on(&s, ADMIN, "203.0.113.254", admin); /* of no interface (RFC 5737) */
    assert_int_equal(open_ports(&s, &err), -EADDRNOTAVAIL);
    has(err.msg, "admin.listen: ");
    has(err.hint, "no interface of this machine has that address");
    end(&s);
}

static void another_node_that_has_the_addresses_is_recognised(void **state) {
    (void)state;
    struct stand_in first, second;
    struct error err = {0};
    make(&first);
    open_and_run(&first);
    make(&second);
    memcpy(second.listen, first.listen, sizeof(first.listen));
    assert_int_equal(open_ports(&second, &err), -EADDRINUSE);
    has(err.msg, "registry.listen: ");
    has(err.msg, "; fleet.listen: ");
    has(err.msg, "; admin.listen: ");
    has(err.hint, "another Entrepot node listens there");
    has(err.hint, " --set registry.listen=HOST:PORT");
    end(&second);
    end(&first);
}

static void ipv6_address_is_listened_on(void **state) {
    (void)state;
    struct stand_in s;
    unsigned port;
    int fd = listen_on("::1", &port);
    if (fd < 0) skip();
    make(&s);
    struct error err = {0};
    listens_on(&s, REGISTRY, "[::1]", port);
    assert_int_equal(open_ports(&s, &err), -EADDRINUSE);
    has(err.msg, "registry.listen: ");
    has(err.hint, "choose another address with --set registry.listen=HOST:PORT");
    close(fd);
    open_and_run(&s);
    answers("::1", port);
    nobody_listens(port);
    end(&s);
}

static void wildcard_listens_on_every_address(void **state) {
    (void)state;
    struct stand_in s;
    unsigned port;
    make(&s);
    struct error err = {0};
    int fd = listen_on("127.0.0.1", &port);
    listens_on(&s, REGISTRY, "", port);
    assert_int_equal(open_ports(&s, &err), -EADDRINUSE);
    has(err.msg, "registry.listen: ");
    close(fd);
    open_and_run(&s);
    answers("127.0.0.1", port);
    answers("127.0.0.2", port);
    unsigned other;
    if ((fd = listen_on("::1", &other)) >= 0) {
        close(fd);
        answers("::1", port);
    }
    end(&s);
}

static void missing_certificate_is_named_and_nothing_stays_open(void **state) {
    (void)state;
    static char cert[] = "/nonexistent/cert.pem", key[] = "/nonexistent/key.pem";
    struct stand_in s;
    struct error err = {0};
    make(&s);
    s.config.registry_cert_file = cert;
    s.config.registry_key_file = key;
    assert_true(open_ports(&s, &err) < 0);
    assert_null(s.ports);
    has(err.msg, cert);
    nobody_listens(s.port_of[REGISTRY]);
    s.config.registry_cert_file = s.config.registry_key_file = NULL;
    open_and_run(&s);
    answers("127.0.0.1", s.port_of[REGISTRY]);
    end(&s);
}

/* The last address fails, when the others listen already. */
static void failure_of_a_later_address_closes_the_earlier_ones(void **state) {
    (void)state;
    struct stand_in s;
    struct error err = {0};
    make(&s);
    snprintf(s.listen[ADMIN], sizeof(s.listen[ADMIN]), "192.0.2.1:0"); /* of no machine (RFC 5737) */
    assert_int_equal(open_ports(&s, &err), -EADDRNOTAVAIL);
    has(err.msg, "admin.listen: ");
    has(err.msg, "192.0.2.1:0");
    assert_null(s.ports);
    nobody_listens(s.port_of[REGISTRY]);
    end(&s);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_addresses_that_are_taken_are_told_at_once),
        cmocka_unit_test(another_node_that_has_the_addresses_is_recognised),
        cmocka_unit_test(ipv6_address_is_listened_on),
        cmocka_unit_test(wildcard_listens_on_every_address),
        cmocka_unit_test(missing_certificate_is_named_and_nothing_stays_open),
        cmocka_unit_test(failure_of_a_later_address_closes_the_earlier_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
