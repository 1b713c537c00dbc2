/* What an edge keeps of central's settings, and what becomes of a file that is not as it was written. */
#include "edge/link/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/core/file.h"
#include "common/core/log.h"

#define VERSION 42

static char dir[256], path[300];

static int setup(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/entrepot-settings-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/settings.pb", dir);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(path);
    rmdir(dir);
    return 0;
}

static void learn(void) {
    struct settings *s = settings_new(dir, &(struct settings_own){0});
    struct wire_settings ws = {.version = VERSION, .n_upstreams = 1};
    ws.upstreams = calloc(1, sizeof(*ws.upstreams));
    assert_non_null(ws.upstreams);
    snprintf(ws.upstreams[0].name, sizeof(ws.upstreams[0].name), "registry.example");
    ws.upstreams[0].fresh_for_ms = 7000;
    ws.default_upstream = strdup("registry.example");
    settings_apply(s, &ws);
    settings_free(s);
}

/* The version that is known at a start; 0: none, and then nothing means anything. */
static uint64_t version_at_start(void) {
    struct settings *s = settings_new(dir, &(struct settings_own){0});
    uint64_t version = settings_version(s);
    int64_t fresh = 0;
    bool per_repository;
    assert_int_equal(settings_upstream(s, "registry.example", &fresh, &per_repository), version == VERSION);
    assert_false(settings_upstream(s, "docker.io", &fresh, &per_repository));
    const struct name_rules *rules = settings_rules(s);
    assert_true(rules->version == version && settings_known(s) == (version != 0));
    assert_true(version || (!rules->default_upstream && rules->n_upstreams == 0));
    settings_free(s);
    return version;
}

static void learned_facts_are_known_at_the_next_start(void **state) {
    (void)state;
    assert_int_equal(version_at_start(), 0);
    learn();
    assert_int_equal(version_at_start(), VERSION);
}

static void a_file_with_a_flipped_bit_counts_as_none(void **state) {
    (void)state;
    learn();
    char *data;
    size_t len;
    struct error err = {0};
    assert_int_equal(file_read_all(path, 65536, &data, &len, &err), 0);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        data[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(file_write_atomic(path, 0600, data, len, &err), 0);
        assert_int_equal(version_at_start(), 0);
        data[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t n = 0; n < len; n++) {
        assert_int_equal(file_write_atomic(path, 0600, data, n, &err), 0);
        assert_int_equal(version_at_start(), 0);
    }
    assert_int_equal(file_write_atomic(path, 0600, data, len, &err), 0);
    assert_int_equal(version_at_start(), VERSION);
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(learned_facts_are_known_at_the_next_start, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_with_a_flipped_bit_counts_as_none, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
