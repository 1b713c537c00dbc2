/* Many threads count while pages are made. */
#include "common/metrics/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { THREADS = 4, ROUNDS = 20000, GENERATIONS = 5 };

static void *count(void *arg) {
    char name[32];
    snprintf(name, sizeof(name), "source%d", (int)(intptr_t)arg);
    for (int i = 0; i < ROUNDS; i++) {
        metric_http("/v2/a/blobs/x", 200, 100, 1000);
        metric_label_add(FAMILY_FETCHED_BYTES, i & 1 ? name : "shared", 1);
    }
    return NULL;
}

static atomic_bool stop;

static void *render(void *arg) {
    (void)arg;
    while (!atomic_load(&stop)) {
        struct buf b;
        buf_init(&b, 0);
        if (metrics_render(&b) < 0) abort();
        buf_fini(&b);
    }
    return NULL;
}

/* Slots of ended threads are used again, their numbers are kept. */
static void nothing_is_lost_when_threads_come_and_go(void **state) {
    (void)state;
    pthread_t reader, threads[THREADS];
    assert_int_equal(pthread_create(&reader, NULL, render, NULL), 0);
    for (int g = 0; g < GENERATIONS; g++) {
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, count, (void *)(intptr_t)i), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
    }
    atomic_store(&stop, true);
    pthread_join(reader, NULL);
    struct buf b;
    char want[128];
    buf_init(&b, 0);
    assert_int_equal(metrics_render(&b), 0);
    const int all = THREADS * ROUNDS * GENERATIONS;
    snprintf(want, sizeof(want), "\nentrepot_http_requests_total{endpoint=\"blob\",code=\"2xx\"} %d\n", all);
    assert_non_null(strstr(b.data, want));
    snprintf(want, sizeof(want), "\nentrepot_fetched_bytes_total{source=\"shared\"} %d\n", all / 2);
    assert_non_null(strstr(b.data, want));
    snprintf(want, sizeof(want), "\nentrepot_fetched_bytes_total{source=\"source3\"} %d\n", all / 2 / THREADS);
    assert_non_null(strstr(b.data, want));
    buf_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_lost_when_threads_come_and_go)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
