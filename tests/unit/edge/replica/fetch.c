/* Which tiles an edge asks for, and when. */
#include "edge/replica/fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/core/log.h"
#include "tests/unit/support/scripted_server.h"

static struct script_server server;
static struct loop *loop;
static struct uplink *uplink;
static struct http_client *client;
static struct replica *replica;
static struct follow *follow;
static struct tile_fetch *fetch;
static struct timer ends;
static unsigned pulls;
static atomic_bool pulling;
static bool asked_meanwhile;
static char asked[256];

static void nothing(void *arg) {
    (void)arg;
}

static void no_tiles(const unsigned *tiles, size_t n, bool full, void *arg) {
    (void)tiles, (void)n, (void)full, (void)arg;
}

static void stop_loop(void *arg) {
    loop_stop(arg);
}

static bool answer(struct script_server *s, int fd, const char *head) {
    (void)s;
    asked_meanwhile = atomic_load(&pulling);
    snprintf(asked, sizeof(asked), "%.*s", (int)strcspn(head + 4, " "), head + 4);
    script_say(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    loop_call(loop, stop_loop, loop);
    return true;
}

static int start(void **state) {
    (void)state;
    char url[64];
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    pulls = 0;
    asked[0] = '\0';
    loop = loop_new("test");
    script_start(&server, answer, NULL);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", server.port);
    uplink = uplink_new(url, NULL);
    client = http_client_new(loop);
    replica = replica_new(0);
    fetch =
        tile_fetch_new(&(struct tile_fetch_config){.uplink = uplink, .loop = loop, .client = client, .pulls = &pulls});
    follow = follow_new(
        &(struct follow_config){.replica = replica, .want_list = nothing, .want_tiles = no_tiles, .restart = nothing});
    tile_fetch_for(fetch, follow);
    return 0;
}

static int stop(void **state) {
    (void)state;
    tile_fetch_free(fetch);
    follow_free(follow);
    replica_free(replica);
    http_client_free(client);
    uplink_free(uplink);
    script_stop(&server);
    loop_free(loop);
    return 0;
}

static const unsigned some[] = {7, 8, 9, 10, 11, 12};

static void first_request_asks_for_few_tiles(void **state) {
    (void)state;
    tile_fetch_tiles(some, ARRAY_LEN(some), false, fetch);
    loop_run(loop);
    assert_string_equal(asked, "/fleet/v1/snapshot?tiles=7,8,9,10");
}

static void pull_is_over(void *arg) {
    (void)arg;
    pulls = 0;
    atomic_store(&pulling, false);
}

static void tiles_wait_until_clients_pulls_are_over(void **state) {
    (void)state;
    pulls = 1;
    atomic_store(&pulling, true);
    timer_init(&ends, loop, pull_is_over, NULL);
    timer_set(&ends, 100);
    tile_fetch_tiles(some, ARRAY_LEN(some), true, fetch);
    loop_run(loop);
    timer_fini(&ends);
    assert_false(asked_meanwhile);
    assert_string_equal(asked, "/fleet/v1/snapshot?tiles=7,8,9,10&full=1");
}

#define T(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(first_request_asks_for_few_tiles),
        T(tiles_wait_until_clients_pulls_are_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
