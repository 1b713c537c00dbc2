/* An edge that answers DNS is asked while central tells other zones and states, ends its stream, and tells what is not
 * sound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>

#include "tests/unit/support/answering_fixture.h"

enum { CLIENTS = 3, TURNS = 100 };

static char dir[64], path[96];
static struct workpool *pool;
static struct answering_zone zones[3];
static struct answering *answering;
static atomic_bool over;
static _Atomic unsigned asked;

/* The third has more edges than the others. */
static const char *const sites[] = {
    "sites=[{name: near, networks: [127.0.0.0/8], edges: [{name: a, address: 10.1.0.1}]}]",
    "sites=[{name: near, networks: [127.0.0.0/8], edges: [{name: a, address: 10.1.0.2}]}, {name: here,"
    " networks: [10.9.0.0/16], edges: [{name: a, address: 127.0.0.2}]}]",
    "sites=[{name: near, networks: [127.0.0.0/8], edges: [{name: a, address: 10.1.0.3}]}, {name: here,"
    " networks: [10.9.0.0/16], edges: [{name: a, address: 127.0.0.2}, {name: b, address: 127.0.0.3}]}]",
};
static const size_t n_edges[] = {1, 2, 3};

static int set_up(void **state) {
    (void)state;
    log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    snprintf(dir, sizeof(dir), "/tmp/answering-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof(path), "%s/dns.state", dir);
    for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
        const char *const sets[] = {ANSWERING_ZONE, sites[i], NULL};
        answering_zone_init(&zones[i], 9, sets);
    }
    pool = workpool_new("work", 1);
    answering = answering_start_at(path, 3600000, pool);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    answering_free(answering);
    workpool_free(pool);
    for (size_t i = 0; i < ARRAY_LEN(zones); i++)
        free(zones[i].message);
    return folder_remove(dir);
}

/* Each answer is one zone's. */
static void *ask(void *arg) {
    char text[IP_TEXT_MAX];
    (void)arg;
    while (!atomic_load(&over)) {
        const char *said = answering_ask(answering, "registry", text);
        if (!said || strncmp(said, "10.1.0.", 7) != 0 || said[7] < '1' || said[7] > '3') abort();
        atomic_fetch_add(&asked, 1);
    }
    return NULL;
}

static void *look(void *arg) {
    (void)arg;
    while (!atomic_load(&over)) {
        json_decref(answering_json(answering));
        json_decref(answering_facts(answering, "here", "here-1"));
    }
    return NULL;
}

static void await(const char *wanted) {
    char text[IP_TEXT_MAX];
    for (;;) {
        const char *said = answering_ask(answering, "registry", text);
        assert_non_null(said);
        if (strcmp(said, wanted) == 0) return;
    }
}

static void each_answer_is_of_one_zone_while_zones_change(void **state) {
    (void)state;
    static const uint8_t bad[] = {DNS_EDGE_GOOD, 200, 200};
    pthread_t clients[CLIENTS], looker;
    answering_tell(answering, &zones[0], true, answering_good, n_edges[0]);
    await("10.1.0.1");
    for (size_t i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&clients[i], NULL, ask, NULL), 0);
    assert_int_equal(pthread_create(&looker, NULL, look, NULL), 0);
    for (unsigned turn = 1; turn <= TURNS; turn++) {
        size_t i = turn % ARRAY_LEN(zones), other = (turn + 1) % ARRAY_LEN(zones);
        char wanted[] = "10.1.0.1";
        wanted[7] = (char)('1' + i);
        answering_tell(answering, &zones[i], true, answering_good, n_edges[i]);
        answering_tell(answering, &zones[other], true, bad, n_edges[other] == 1 ? 2 : n_edges[other]);
        answering_tell(answering, &zones[other], false, answering_good, n_edges[other]);
        if (turn % 5 == 0) answering_told(answering, NULL);
        answering_tell(answering, &zones[i], false, answering_good, n_edges[i]);
        if (turn % 2) await(wanted);
    }
    atomic_store(&over, true);
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    pthread_join(looker, NULL);
    assert_true(asked > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_answer_is_of_one_zone_while_zones_change, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
