/* Costly manifests that several threads parse at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "common/core/buf.h"
#include "common/core/budget.h"
#include "common/core/json.h"
#include "common/oci/manifest.h"

#define THREADS 6
#define ROUNDS 20

static struct buf text;

static void *parse_some(void *arg) {
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct manifest m;
        bool is_one;
        assert_int_equal(manifest_judge(&m, text.data, text.len, &is_one), 0);
        assert_true(is_one);
        manifest_fini(&m);
    }
    return NULL;
}

static void costly_manifests_wait_for_the_memory_to_parse_them(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    struct budget_state s;
    buf_init(&text, 0);
    int r = buf_add_str(&text, "{\"schemaVersion\":2,\"manifests\":[],\"x\":[");
    for (int i = 0; i < 10000 && r == 0; i++)
        r = buf_add_str(&text, "{},");
    assert_int_equal(r, 0);
    assert_int_equal(buf_add_str(&text, "{}]}"), 0);
    int64_t cost = json_cost(text.data, text.len);
    budget_limit(BUDGET_JSON, 2 * cost + 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, parse_some, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    budget_read(BUDGET_JSON, &s);
    assert_int_equal(s.used, 0);
    assert_true(s.peak >= cost && s.peak <= 2 * cost);
    /* What would never fit is not waited for. */
    struct manifest m;
    struct error err;
    budget_limit(BUDGET_JSON, cost - 1);
    assert_int_equal(manifest_parse(&m, text.data, text.len, &err), ERR_TOO_BIG);
    assert_non_null(strstr(err.msg, "memory.json"));
    manifest_fini(&m);
    buf_fini(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(costly_manifests_wait_for_the_memory_to_parse_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
