/* Several loops and many clients at once, and a drain in their midst: every answer that comes is whole and right, every
 * request is closed once, and nothing is touched after the server is freed. */
#include "tests/unit/support/http_fixture.h"

#include <pthread.h>

#define CLIENTS 24

static struct fixture f;
static atomic_bool enough;
static atomic_int answered, wrong;

struct client {
    pthread_t thread;
    unsigned seed;
    char *body;
};

static const struct {
    const char *text, *want;
    size_t len;
} asks[] = {
    {GET("/hello"), "hello", 5},
    {GET("/later"), "later", 5},
    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "abc", 3},
    {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "abc", 3},
    {GET("/rendered"), "rendered", 8},
    {GET("/parts"), pattern, BIG},
    {GET("/file"), pattern, BIG},
    {GET("/big"), pattern, BIG},
};

/* One connection's worth: requests until the server ends it or enough was done. */
static void converse(struct client *c, int fd) {
    char head[2048];
    for (int i = 0; i < 20; i++) {
        size_t k = (size_t)rand_r(&c->seed) % (rand_r(&c->seed) % 8 ? 5 : ARRAY_LEN(asks));
        size_t n = strlen(asks[k].text), len;
        if (send(fd, asks[k].text, n, MSG_NOSIGNAL) != (ssize_t)n) return;
        /* One in eight leaves without hearing the answer. */
        if (rand_r(&c->seed) % 8 == 0) return;
        if (!hear_answer(fd, head, sizeof(head), c->body, &len)) return;
        if (len != asks[k].len || memcmp(c->body, asks[k].want, len) != 0) atomic_fetch_add(&wrong, 1);
        atomic_fetch_add(&answered, 1);
        if (strstr(head, "Connection: close")) return;
    }
}

static void *client_main(void *arg) {
    struct client *c = arg;
    while (!atomic_load(&enough)) {
        int fd = dial(&f);
        if (fd < 0) return NULL;
        converse(c, fd);
        close(fd);
    }
    return NULL;
}

static void run(unsigned loops, int before_drain, int64_t grace_ms) {
    static struct client clients[CLIENTS];
    atomic_store(&enough, false);
    atomic_store(&answered, 0);
    fixture_init(&f, loops);
    fixture_start(&f);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].seed = i + 1;
        clients[i].body = malloc(BIG + 1);
        assert_int_equal(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]), 0);
    }
    WAIT_FOR(atomic_load(&answered) >= before_drain);
    struct http_stats s;
    http_server_stats(f.server, &s);
    assert_true(s.requests >= before_drain && s.accepted > 0);
    http_server_drain(f.server, grace_ms, on_drained, &f);
    WAIT_FOR(atomic_load(&f.drained));
    http_server_stats(f.server, &s);
    assert_int_equal(s.connections, 0);
    atomic_store(&enough, true);
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        free(clients[i].body);
    }
    http_server_free(f.server);
    for (unsigned i = 0; i < f.n_loops; i++) {
        loop_stop(f.loops[i]);
        loop_join(f.loops[i]);
        loop_free(f.loops[i]);
    }
    open_file_unref(f.file);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(atomic_load(&f.seen.closed), atomic_load(&f.seen.handled));
    assert_int_equal(atomic_load(&f.seen.accesses), atomic_load(&f.seen.handled));
}

static void many_clients_on_several_loops_and_a_patient_drain(void **state) {
    (void)state;
    run(4, 1500, 20000);
    assert_true(atomic_load(&answered) >= 1500);
}

static void many_clients_on_several_loops_and_an_abrupt_drain(void **state) {
    (void)state;
    run(4, 500, 0);
}

static void many_clients_on_one_loop(void **state) {
    (void)state;
    run(1, 500, 1000);
}

static void drain_at_once_after_start(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) {
        fixture_init(&f, 4);
        fixture_start(&f);
        int fd = dial(&f);
        fixture_stop(&f, 100);
        if (fd >= 0) close(fd);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_clients_on_several_loops_and_a_patient_drain),
        cmocka_unit_test(many_clients_on_several_loops_and_an_abrupt_drain),
        cmocka_unit_test(many_clients_on_one_loop),
        cmocka_unit_test(drain_at_once_after_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
