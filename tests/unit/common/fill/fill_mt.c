/* A fill and its readers: one download, whoever asks, comes and goes, and nothing shown too early. */
#include "tests/unit/common/fill/world.h"

static void fill_fetches_once_however_many_ask(void **state) {
    (void)state;
    const int64_t size = 9 * MB + 1;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    world_start(0);
    static struct taker takers[50];
    for (int i = 0; i < 50; i++)
        taker_start(&takers[i], i, &d, size, "a", 0, 0);
    for (int i = 0; i < 50; i++) {
        taker_expect(&takers[i], data);
    }
    assert_int_equal(atomic_load(&s.starts), 1);
    wait_until_held(&d);
    world_end(data);
}

static void fill_withholds_last_piece_until_digest_matches(void **state) {
    (void)state;
    const int64_t size = 9 * MB, where[] = {0, 5 * MB, 9 * MB - 1};
    for (size_t i = 0; i < ARRAY_LEN(where); i++) {
        struct digest d;
        unsigned char *data = random_data(size, &d), *wrong = malloc((size_t)size);
        memcpy(wrong, data, (size_t)size);
        wrong[where[i]] ^= 0x40;
        struct script s;
        script_init(&s, "wrong", wrong, size);
        world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
        world_start(0);
        struct taker t;
        taker_start(&t, 0, &d, size, "a", 0, 0);
        assert_int_equal(taker_wait(&t), ERR_MISMATCH);
        assert_true(t.max_seen <= 8 * MB);
        free(t.got);
        world_end(data);
        free(wrong);
    }
}

static void fill_takes_blobs_of_all_sizes_side_by_side_in_odd_parts(void **state) {
    (void)state;
    static const int64_t sizes[] = {1,      10007,      32 * 1024,  256 * 1024, 256 * 1024 + 1, MB,
                                    4 * MB, 4 * MB + 1, 8 * MB - 1, 8 * MB,     9 * MB + 12345, 13 * MB};
    static struct script s[ARRAY_LEN(sizes)];
    struct digest d[ARRAY_LEN(sizes)];
    static struct taker takers[ARRAY_LEN(sizes)];
    unsigned char *data[ARRAY_LEN(sizes)];
    world = (typeof(world)){
        .by_digest = s, .digests = d, .n_by_digest = ARRAY_LEN(sizes), .n_sources = 1, .advise_size = -1};
    world_start(0);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        data[i] = random_data(sizes[i], &d[i]);
        script_init(&s[i], "odd", data[i], sizes[i]);
        s[i].part = 10007;
        taker_init(&takers[i], (int)i, &d[i], sizes[i], "a", 0, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        taker_go(&takers[i]);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        taker_expect(&takers[i], data[i]);
        wait_until_held(&takers[i].spec.digest);
    }
    world_stop();
    world_clean();
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        free(data[i]);
}

/* The hasher has got to the end before the loop hears of it. */
static void fill_is_over_when_its_hash_is_back(void **state) {
    (void)state;
    static const int64_t sizes[] = {MB + 1, 3 * MB, 4 * MB, 9 * MB + 1, 16 * MB};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct digest d;
        struct script s;
        unsigned char *data = one_source(&s, "one", sizes[i], &d);
        s.at_once = true;
        s.part = 10007;
        world_start(0);
        struct taker t;
        taker_start(&t, 0, &d, sizes[i], "a", 0, 0);
        taker_expect(&t, data);
        assert_int_equal(atomic_load(&s.starts), 1);
        wait_until_held(&d);
        world_end(data);
    }
}

static void fill_shows_the_first_bytes_before_more_come(void **state) {
    (void)state;
    const int64_t size = 9 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "slow", size, &d);
    atomic_store(&s.gate, 100);
    world_start(0);
    struct taker t;
    taker_init(&t, 0, &d, size, "a", 0, 0);
    t.stop_at = 100;
    taker_go(&t);
    assert_int_equal(taker_wait(&t), 0);
    assert_int_equal(t.pos, 100);
    assert_memory_equal(t.got, data, 100);
    free(t.got);
    world_end(data);
}

static void fill_goes_on_when_one_reader_leaves(void **state) {
    (void)state;
    const int64_t size = 20 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    atomic_store(&s.gate, 2 * MB);
    world_start(0);
    struct taker quits, stays;
    taker_init(&quits, 0, &d, size, "a", 0, 0);
    quits.stop_at = 1 * MB;
    taker_go(&quits);
    taker_start(&stays, 1, &d, size, "a", 0, 0);
    assert_int_equal(taker_wait(&quits), 0);
    atomic_store(&s.gate, INT64_MAX);
    taker_expect(&stays, data);
    assert_int_equal(atomic_load(&s.starts), 1);
    free(quits.got);
    world_end(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fill_fetches_once_however_many_ask),
        cmocka_unit_test(fill_withholds_last_piece_until_digest_matches),
        cmocka_unit_test(fill_takes_blobs_of_all_sizes_side_by_side_in_odd_parts),
        cmocka_unit_test(fill_is_over_when_its_hash_is_back),
        cmocka_unit_test(fill_shows_the_first_bytes_before_more_come),
        cmocka_unit_test(fill_goes_on_when_one_reader_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
