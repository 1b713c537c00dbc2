/* Part files: what is kept of a fill that ended early, and how the next one goes on from it. */
#include "tests/unit/common/fill/world.h"

#include <dirent.h>

/* Wherever the hasher is when it is stopped, what is in the file is good to go on from. */
static void fill_may_be_stopped_while_it_is_hashed(void **state) {
    (void)state;
    const int64_t size = 24 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    s.part = 16384;
    for (int64_t at = MB; at < size; at += 5 * MB) {
        world_start(0);
        struct taker t;
        taker_start(&t, 0, &d, size, "a", 0, 0);
        while (atomic_load(&s.sent) < at)
            sched_yield();
        world_stop();
        int code = taker_wait(&t);
        assert_true(code == ERR_CANCELLED || code == 0);
        free(t.got);
    }
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    taker_expect(&t, data);
    assert_int_equal(atomic_load(&s.sent), size);
    world_end(data);
}

static void fill_continues_its_part_file_after_a_restart(void **state) {
    (void)state;
    const int64_t size = 11 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "slow", size, &d);
    atomic_store(&s.gate, 7 * MB);
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    while (atomic_load(&s.sent) < 7 * MB)
        sched_yield();
    world_stop();
    taker_fails(&t, ERR_CANCELLED);
    atomic_store(&s.gate, INT64_MAX);
    world_start(0);
    taker_start(&t, 0, &d, size, "a", 0, 0);
    taker_expect(&t, data);
    assert_int_equal(atomic_load(&s.last_offset), 7 * MB);
    assert_int_equal(atomic_load(&s.sent), size);
    world_end(data);
}

/* A part file that has rotted is nobody's lie: with one source that may lie but once, the pull succeeds. */
static void fill_drops_damaged_bytes_of_its_part_file_and_blames_no_source(void **state) {
    (void)state;
    static const struct {
        int64_t have, wrong_at, kept;
    } cases[] = {{11 * MB, 0, 0}, {11 * MB, 5 * MB, 4 * MB}, {30 * MB, 27 * MB, 24 * MB}, {30 * MB, -1, 30 * MB}};
    const int64_t size = 34 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct script s;
        script_init(&s, "one", data, size);
        world = (typeof(world)){.sources = {&s}, .n_sources = 1};
        world_prove(data, size);
        if (cases[i].wrong_at >= 0) data[cases[i].wrong_at] ^= 1;
        leave_part(data, cases[i].have, &d);
        if (cases[i].wrong_at >= 0) data[cases[i].wrong_at] ^= 1;
        assert_int_equal(take_all(&s, &d), size - cases[i].kept);
        world_clean();
    }
    free(data);
}

static void fill_drops_a_part_file_that_is_longer_than_the_blob(void **state) {
    (void)state;
    const int64_t size = 5 * MB;
    struct digest d, other;
    unsigned char *data = random_data(size, &d), *longer = random_data(size + 1, &other);
    struct script s;
    script_init(&s, "one", data, size);
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = size};
    leave_part(longer, size + 1, &d);
    assert_int_equal(take_all(&s, &d), size);
    world_clean();
    free(data);
    free(longer);
}

static void fill_passes_through_what_the_store_has_no_room_for(void **state) {
    (void)state;
    const int64_t size = 100 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "big", size, &d);
    world_start(8 * MB);
    struct taker a, b;
    taker_start(&a, 0, &d, size, "a", 0, 0);
    taker_expect(&a, data);
    taker_start(&b, 1, &d, size, "a", 0, 0);
    taker_expect(&b, data);
    struct fill_stats stats;
    fill_engine_stats(world.engine, &stats);
    assert_int_equal(stats.passed_through, 2);
    struct blob_info info;
    assert_false(store_lookup(world.store, &d, &info));
    world_end(data);
}

/* Anyone can write a manifest: what it says of a size is a hint, whatever the source says of it itself. */
static void fill_does_not_rely_on_a_claimed_size(void **state) {
    (void)state;
    static const struct {
        int64_t size, claim;
        bool hide;
    } cases[] = {
        {5 * MB, 1, false},      {5 * MB, 0, false},     {5 * MB, 9 * MB, false}, {5 * MB, INT64_C(1) << 53, false},
        {5 * MB, 1, true},       {5 * MB, 4 * MB, true}, {5 * MB, 9 * MB, true},  {10007, 11, false},
        {10007, 5 * MB, true},   {10007, 10006, true},   {0, 12, false},          {12, 0, true},
        {5 * MB, 5 * MB, false}, {5 * MB, 5 * MB, true}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct digest d;
        struct script s;
        unsigned char *data = one_source(&s, "one", cases[i].size, &d);
        s.hide_size = cases[i].hide;
        world.advise_size = cases[i].claim;
        world.claimed = true;
        assert_int_equal(take_all(&s, &d), cases[i].size);
        world_clean();
        free(data);
    }
}

/* A part file as long as the claim is neither the whole nor wrong. */
static void fill_goes_on_from_a_part_file_of_the_claimed_size(void **state) {
    (void)state;
    const int64_t size = 9 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    world.advise_size = 4 * MB;
    world.claimed = true;
    leave_part(data, 4 * MB, &d);
    assert_int_equal(take_all(&s, &d), 5 * MB);
    world_clean();
    free(data);
}

static int files_in_fills(void) {
    char path[128];
    snprintf(path, sizeof(path), "%s/fills", world.dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    int n = 0;
    for (struct dirent *e; (e = readdir(dir));)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* Anybody may ask for what there is not, without end; and that there is no such thing is no failure. */
static void fill_leaves_no_file_and_counts_no_failure_for_an_unknown_blob(void **state) {
    (void)state;
    static const struct {
        int refuse, failed;
        unsigned n_sources;
    } cases[] = {{ERR_NOT_FOUND, 0, 1}, {ERR_DENIED, 0, 1}, {ERR_NOT_FOUND, 0, 0}, {ERR_UPSTREAM, 1, 1}};
    const int64_t size = 100000;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct script s;
        script_init(&s, "one", data, size);
        s.refuse = cases[i].refuse;
        world = (typeof(world)){.sources = {&s}, .n_sources = cases[i].n_sources, .advise_size = -1};
        world_start(0);
        struct taker t;
        taker_start(&t, 0, &d, size, "a", 0, 0);
        taker_fails(&t, cases[i].refuse);
        struct fill_stats stats;
        fill_engine_stats(world.engine, &stats);
        assert_int_equal(stats.failed, cases[i].failed);
        assert_int_equal(files_in_fills(), 0);
        world_stop();
        world_clean();
    }
    free(data);
}

/* A source that agrees to send and then sends nothing has left nothing to go on from. */
static void fill_leaves_no_file_without_a_byte_in_it(void **state) {
    (void)state;
    const int64_t size = 100000;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    atomic_store(&s.gate, 0);
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    while (files_in_fills() == 0)
        sched_yield();
    world_stop();
    taker_fails(&t, ERR_CANCELLED);
    assert_int_equal(files_in_fills(), 0);
    world_clean();
    free(data);
}

/* The catalogue knows that it is empty: nobody is asked, and it is kept all the same. */
static void fill_finishes_a_blob_that_is_known_to_be_empty(void **state) {
    (void)state;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", 0, &d);
    world.advise_size = 0;
    assert_int_equal(take_all(&s, &d), 0);
    assert_int_equal(files_in_fills(), 0);
    world_clean();
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fill_may_be_stopped_while_it_is_hashed),
        cmocka_unit_test(fill_continues_its_part_file_after_a_restart),
        cmocka_unit_test(fill_drops_damaged_bytes_of_its_part_file_and_blames_no_source),
        cmocka_unit_test(fill_drops_a_part_file_that_is_longer_than_the_blob),
        cmocka_unit_test(fill_does_not_rely_on_a_claimed_size),
        cmocka_unit_test(fill_goes_on_from_a_part_file_of_the_claimed_size),
        cmocka_unit_test(fill_passes_through_what_the_store_has_no_room_for),
        cmocka_unit_test(fill_leaves_no_file_and_counts_no_failure_for_an_unknown_blob),
        cmocka_unit_test(fill_leaves_no_file_without_a_byte_in_it),
        cmocka_unit_test(fill_finishes_a_blob_that_is_known_to_be_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
