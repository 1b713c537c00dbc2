/* Requests to one upstream at the same time: the cap, pauses, cancels in every state. */
#include "tests/unit/common/upstream/fixture.h"

#include <poll.h>

static bool crowded(struct script_server *s, int fd, const char *head) {
    (void)s;
    int n = atomic_fetch_add(&now_in, 1) + 1, most = atomic_load(&most_in);
    while (n > most && !atomic_compare_exchange_weak(&most_in, &most, n)) {}
    usleep(2000);
    atomic_fetch_sub(&now_in, 1);
    ok(fd, "", strstr(head, "/blobs/") ? "blob" : "small");
    return true;
}

static void upstream_keeps_to_its_cap_in_order(void **state) {
    (void)state;
    cfg.max_parallel = 4;
    stage(crowded);
    static struct probe p[30];
    memset(p, 0, sizeof(p));
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        begin(&p[i], (struct fetch_request){.kind = FETCH_BLOB}, "app");
    struct upstream_stats st;
    upstream_stats(up, &st);
    assert_int_equal(st.active, 3); /* one slot is left to small requests */
    assert_int_equal(st.waiting, 27);
    struct probe m = {0};
    begin(&m, (struct fetch_request){.kind = FETCH_MANIFEST}, "app");
    upstream_stats(up, &st);
    assert_int_equal(st.active, 4);
    fetch_cancel(p[29].fetch); /* while it waits */
    over(&p[29]);
    loop_run(loop);
    for (size_t i = 0; i < ARRAY_LEN(p) - 1; i++)
        assert_string_equal(p[i].body, "blob");
    assert_string_equal(m.body, "small");
    assert_true(atomic_load(&most_in) <= 4);
    upstream_stats(up, &st);
    assert_int_equal(st.active + st.waiting, 0);
}

static bool drip_or_good(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (!strstr(head, "/drip")) {
        ok(fd, "", "good");
        return true;
    }
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx");
    for (int i = 0; i < 1000; i++) {
        struct pollfd closed = {.fd = fd, .events = POLLRDHUP};
        if (poll(&closed, 1, 10) > 0) return false;
        script_send(fd, "x", 1);
    }
    return false;
}

static void upstream_gives_the_places_of_bodies_that_drip_to_those_that_wait(void **state) {
    (void)state;
    cfg.max_parallel = 4;
    stage(drip_or_good);
    struct probe drips[3] = {{0}}, waits = {0};
    for (size_t i = 0; i < ARRAY_LEN(drips); i++)
        begin(&drips[i], (struct fetch_request){.kind = FETCH_BLOB}, "drip");
    begin(&waits, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    struct upstream_stats st;
    upstream_stats(up, &st);
    assert_int_equal(st.waiting, 1);
    running = 1; /* until the one that waits is over */
    while (!waits.dones) {
        loop_run(loop);
        running++;
    }
    assert_string_equal(waits.body, "good");
    int gave_up = 0;
    for (size_t i = 0; i < ARRAY_LEN(drips); i++) {
        if (!drips[i].dones) continue;
        gave_up++;
        assert_int_equal(drips[i].end.code, ERR_BUSY);
        assert_true(drips[i].end.gave_way);
        assert_true(drips[i].bytes > 0);
    }
    assert_true(gave_up > 0);
    for (size_t i = 0; i < ARRAY_LEN(drips); i++) {
        if (!drips[i].dones) fetch_cancel(drips[i].fetch);
    }
}

static bool big(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "/wait")) {
        script_wait_closed(fd);
        return false;
    }
    static char block[65536];
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 64 * 65536);
    for (int i = 0; i < 64; i++)
        script_send(fd, block, sizeof(block));
    return true;
}

static void upstream_pauses_and_resumes(void **state) {
    (void)state;
    limits.stall_ms = 100;
    stage(big);
    struct probe p = {.pause_in_data = true}, small = {0};
    begin(&p, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    loop_run(loop);
    assert_int_equal(p.parts, 1);
    running = 0; /* others go on meanwhile */
    begin(&small, (struct fetch_request){.kind = FETCH_BLOB}, "other");
    loop_run(loop);
    running = 1;
    assert_int_equal(small.bytes, 64 * 65536);
    assert_int_equal(p.parts, 1);
    p.pause_in_data = false;
    fetch_resume(p.fetch);
    assert_int_equal(p.parts, 1);
    loop_run(loop);
    assert_int_equal(p.end.code, 0);
    assert_int_equal(p.bytes, 64 * 65536);
    struct probe early = {0};
    begin(&early, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    fetch_pause(early.fetch);
    fetch_resume(early.fetch);
    loop_run(loop);
    assert_int_equal(early.bytes, 64 * 65536);
}

static void upstream_cancels_in_every_state(void **state) {
    (void)state;
    cfg.max_parallel = 4;
    stage(big);
    struct probe fresh = {0}, in_head = {.cancel_in_head = true}, in_data = {.cancel_in_data = true}, waiting = {0};
    begin(&fresh, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    fetch_cancel(fresh.fetch);
    over(&fresh);
    begin(&in_head, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    begin(&in_data, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    loop_run(loop);
    begin(&waiting, (struct fetch_request){.kind = FETCH_MANIFEST}, "wait");
    struct probe killer = {.cancel_other = &waiting};
    begin(&killer, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    loop_run(loop);
    assert_int_equal(fresh.dones + in_head.dones + in_data.dones + waiting.dones, 0);
    assert_int_equal(killer.dones, 1);
    struct upstream_stats st;
    upstream_stats(up, &st);
    assert_int_equal(st.active + st.waiting, 0);
    static struct probe left[10]; /* upstream_free ends them, running and waiting */
    memset(left, 0, sizeof(left));
    for (size_t i = 0; i < ARRAY_LEN(left); i++)
        begin(&left[i], (struct fetch_request){.kind = FETCH_BLOB}, "wait");
    running = 0;
}

static bool token_never_comes(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "GET /token")) {
        loop_stop(loop);
        script_wait_closed(fd);
        return false;
    }
    ask_to_sign_in(fd, head);
    return true;
}

static void upstream_cancels_while_a_token_is_fetched(void **state) {
    (void)state;
    stage(token_never_comes);
    struct probe a = {0}, b = {0};
    begin(&a, (struct fetch_request){.kind = FETCH_MANIFEST}, "app");
    begin(&b, (struct fetch_request){.kind = FETCH_MANIFEST}, "app");
    loop_run(loop); /* until the token service was asked */
    fetch_cancel(a.fetch);
    fetch_cancel(b.fetch);
    running = 0;
    assert_int_equal(a.dones + b.dones, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(upstream_keeps_to_its_cap_in_order),
        T(upstream_gives_the_places_of_bodies_that_drip_to_those_that_wait),
        T(upstream_pauses_and_resumes),
        T(upstream_cancels_in_every_state),
        T(upstream_cancels_while_a_token_is_fetched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
