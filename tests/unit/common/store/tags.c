/* The table of tags is bounded, in memory and in the index. */
#include "tests/unit/common/store/fixture.h"

#include <string.h>

#include "common/store/report.h"
#include "common/store/tag.h"

#define MAX 1000
#define HELD 50
#define HOSTED 50
#define ASKED_ONCE 5000

static int guard_open_none(const char *folder, void **out, struct error *err) {
    (void)folder, (void)err;
    static int nothing;
    *out = &nothing;
    return 0;
}

static void guard_close_none(void *state) {
    (void)state;
}

static bool keeps_nothing(const struct digest *d, void *state) {
    (void)d, (void)state;
    return false;
}

static bool keeps_hosted_tag(const char *repo, const char *tag, void *state) {
    (void)tag, (void)state;
    return strcmp(repo, "hosted") == 0;
}

static bool keeps_no_all(void *state) {
    (void)state;
    return false;
}

static const struct store_guard guard = {.open = guard_open_none,
                                         .close = guard_close_none,
                                         .keeps = keeps_nothing,
                                         .keeps_tag = keeps_hosted_tag,
                                         .keeps_all = keeps_no_all};

static struct store *open_bounded(const char *dir) {
    struct error err = {0};
    struct store *s = NULL;
    struct store_config cfg = {.dir = dir, .tags_max = MAX, .guard = &guard};
    if (store_open(&s, &cfg, &err) < 0) fail_msg("%s", err.msg);
    store_wait_reconciled(s);
    return s;
}

static int64_t count(struct store *s) {
    struct store_usage u;
    store_usage(s, &u);
    return u.tags;
}

static void set(struct store *s, const char *repo, unsigned n, const struct digest *d, int64_t checked_at) {
    char tag[32];
    struct tag_facts rec = {.digest = *d, .checked_at = checked_at, .size = 1};
    snprintf(tag, sizeof(tag), "t%u", n);
    store_tag_set(s, repo, tag, &rec);
}

static bool has(struct store *s, const char *repo, unsigned n) {
    char tag[32];
    struct tag_facts rec;
    snprintf(tag, sizeof(tag), "t%u", n);
    return store_tag_get(s, repo, tag, &rec);
}

/* Names that were asked for once go, the oldest first; held and hosted ones stay, however old. */
static void tags_of_names_asked_once_go_oldest_first(void **state) {
    (void)state;
    char dir[256];
    fixture_dir(dir);
    struct store *s = open_bounded(dir);
    struct digest held = fixture_put(s, 1, 1000), gone;
    free(fixture_bytes(2, 1000, &gone));
    for (unsigned i = 0; i < HELD; i++)
        set(s, "held", i, &held, 1);
    for (unsigned i = 0; i < HOSTED; i++)
        set(s, "hosted", i, &gone, 1);
    for (unsigned i = 0; i < ASKED_ONCE; i++) {
        char repo[32];
        snprintf(repo, sizeof(repo), "up/r%u", i % 100);
        set(s, repo, i, &gone, 1000 + i);
        if (i % 100 == 99) assert_int_equal(store_sync(s), 0);
        if (i % 100 == 99) assert_true(count(s) <= MAX + 100);
    }
    /* What was set while the table was trimmed is looked at by a further turn, which is queued by the end of the first. */
    for (int turn = 0; turn < 50 && count(s) > MAX; turn++)
        assert_int_equal(store_sync(s), 0);
    for (int life = 0; life < 2; life++) {
        assert_true(count(s) <= MAX);
        assert_true(count(s) > MAX / 2);
        for (unsigned i = 0; i < HELD; i++)
            assert_true(has(s, "held", i));
        for (unsigned i = 0; i < HOSTED; i++)
            assert_true(has(s, "hosted", i));
        assert_true(has(s, "up/r99", ASKED_ONCE - 1));
        assert_false(has(s, "up/r0", 0));
        store_close(s);
        s = open_bounded(dir); /* the rows have gone, too */
    }
    store_close(s);
    fixture_remove(dir);
}

/* Tags come faster than the table is trimmed, then no more come: it is within its bound in the end. */
static void tags_that_come_while_it_is_trimmed_do_not_keep_the_table_over_its_bound(void **state) {
    (void)state;
    char dir[256];
    fixture_dir(dir);
    struct store *s = open_bounded(dir);
    struct digest gone;
    free(fixture_bytes(2, 1000, &gone));
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < MAX; i++)
            set(s, "up/fast", round * MAX + i, &gone, 1000 + round * MAX + i);
        for (int turn = 0; turn < 50 && count(s) > MAX; turn++)
            assert_int_equal(store_sync(s), 0);
        assert_true(count(s) <= MAX);
    }
    store_close(s);
    fixture_remove(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_of_names_asked_once_go_oldest_first),
        cmocka_unit_test(tags_that_come_while_it_is_trimmed_do_not_keep_the_table_over_its_bound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
