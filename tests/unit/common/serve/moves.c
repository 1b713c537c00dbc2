/* Tags that have moved to what is not here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/core/clock.h"
#include "common/serve/moves.h"

static const struct repo_name app = {.upstream = "docker.io", .path = "library/app"};

static struct tag_facts said(const char *content) {
    struct tag_facts r = {.checked_at = 1};
    digest_of(&r.digest, DIGEST_SHA256, content, strlen(content));
    return r;
}

static void a_failure_is_known_until_the_source_names_another(void **state) {
    (void)state;
    struct moves *t = moves_new();
    struct tag_facts one = said("one"), two = said("two");
    struct move m;
    moves_note(t, &app, "v1", &one);
    assert_true(moves_get(t, &app, "v1", &m));
    assert_int_equal(m.failed_ms, 0);
    moves_failed(t, &one.digest, "refused");
    moves_note(t, &app, "v1", &one);
    assert_true(moves_get(t, &app, "v1", &m));
    assert_true(m.failed_ms > 0);
    assert_string_equal(m.why, "refused");
    moves_note(t, &app, "v1", &two);
    assert_true(moves_get(t, &app, "v1", &m));
    assert_int_equal(m.failed_ms, 0);
    assert_true(digest_eq(&m.said.digest, &two.digest));
    moves_forget(t, &app, "v1");
    assert_false(moves_get(t, &app, "v1", &m));
    moves_free(t);
}

static void every_tag_that_has_moved_to_a_manifest_is_found(void **state) {
    (void)state;
    struct moves *t = moves_new();
    struct tag_facts one = said("one"), two = said("two");
    struct move m;
    moves_note(t, &app, "v1", &one);
    moves_note(t, &app, "v2", &two);
    moves_note(t, &app, "v3", &one);
    int n = 0;
    while (moves_take(t, &one.digest, &m)) {
        assert_string_equal(m.repo.path, app.path);
        n++;
    }
    assert_int_equal(n, 2);
    assert_false(moves_get(t, &app, "v1", &m));
    assert_true(moves_get(t, &app, "v2", &m));
    moves_free(t);
}

static const char *tag_name(int i, char out[16]) {
    snprintf(out, 16, "t%d", i);
    return out;
}

static void of_more_than_a_thousand_moved_tags_the_oldest_are_forgotten(void **state) {
    (void)state;
    struct moves *t = moves_new();
    struct tag_facts one = said("one");
    struct move m;
    char tag[16];
    for (int i = 0; i < 1000; i++)
        moves_note(t, &app, tag_name(i, tag), &one);
    moves_note(t, &app, "t0", &one); /* as young as any again */
    for (int i = 1000; i < 1500; i++)
        moves_note(t, &app, tag_name(i, tag), &one);
    assert_true(moves_get(t, &app, "t0", &m));
    for (int i = 1; i < 1500; i++)
        assert_int_equal(moves_get(t, &app, tag_name(i, tag), &m), i > 500);
    int n = 0;
    while (moves_take(t, &one.digest, &m))
        n++;
    assert_int_equal(n, 1000);
    moves_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_is_known_until_the_source_names_another),
        cmocka_unit_test(every_tag_that_has_moved_to_a_manifest_is_found),
        cmocka_unit_test(of_more_than_a_thousand_moved_tags_the_oldest_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
