/* Map, buffer and log line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "common/core/buf.h"
#include "common/core/error.h"
#include "common/core/log.h"
#include "common/core/map.h"

static void map_keeps_what_was_set_and_frees_what_is_replaced(void **state) {
    (void)state;
    struct map *m = map_new(free);
    char key[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        map_set_s(m, key, strdup(key));
    }
    map_set_s(m, "key-7", strdup("other"));
    assert_int_equal(map_len(m), 5000);
    assert_string_equal(map_get_s(m, "key-7"), "other");
    assert_string_equal(map_get_s(m, "key-4999"), "key-4999");
    assert_true(map_del_s(m, "key-8"));
    assert_false(map_del_s(m, "key-8"));
    assert_null(map_get_s(m, "key-8"));
    char *taken = map_take(m, "key-9", 5);
    assert_string_equal(taken, "key-9");
    free(taken);
    assert_int_equal(map_len(m), 4998);
    map_free(m);
}

static void buf_refuses_to_grow_beyond_its_limit_and_keeps_what_it_had(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_int_equal(buf_add_str(&b, "12345"), 0);
    assert_int_equal(buf_add_str(&b, "678901"), ERR_TOO_BIG);
    assert_int_equal(buf_printf(&b, "%s", "67890"), 0);
    assert_int_equal(buf_printf(&b, "x"), ERR_TOO_BIG);
    assert_string_equal(b.data, "1234567890");
    size_t len;
    char *stolen = buf_steal(&b, &len);
    assert_int_equal(len, 10);
    free(stolen);
    buf_fini(&b);
}

static size_t logged(enum log_format format, char *out, size_t cap, const struct log_kv *kvs) {
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    log_init(fds[1], format, LOG_LEVEL_INFO, "test");
    log_write(LOG_LEVEL_INFO, "event", kvs);
    close(fds[1]);
    ssize_t n = read(fds[0], out, cap - 1);
    close(fds[0]);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static void log_escapes_what_could_forge_a_line(void **state) {
    (void)state;
    char out[10000];
    const struct log_kv kvs[] = {KV_S("target", "/a b\n\"x\x1b[31m"), KV_I("n", 5), {0}};
    logged(LOG_FORMAT_KV, out, sizeof(out), kvs);
    assert_non_null(strstr(out, "target=\"/a b\\u000a\\\"x\\u001b[31m\" n=5\n"));
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
    logged(LOG_FORMAT_JSON, out, sizeof(out), kvs);
    assert_non_null(strstr(out, "\"target\":\"/a b\\u000a\\\"x\\u001b[31m\",\"n\":5}\n"));
}

static void log_cuts_a_line_that_is_too_long(void **state) {
    (void)state;
    char out[10000], *big = malloc(20000);
    memset(big, 'a', 19999);
    big[19999] = '\0';
    const struct log_kv kvs[] = {KV_S("big", big), KV_S("after", "x"), {0}};
    size_t n = logged(LOG_FORMAT_JSON, out, sizeof(out), kvs);
    assert_true(n <= 8192);
    assert_string_equal(out + n - 3, "\"}\n");
    free(big);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_keeps_what_was_set_and_frees_what_is_replaced),
        cmocka_unit_test(buf_refuses_to_grow_beyond_its_limit_and_keeps_what_it_had),
        cmocka_unit_test(log_escapes_what_could_forge_a_line),
        cmocka_unit_test(log_cuts_a_line_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
