/* The eviction policy by itself. */
#include "common/store/evict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#define IDS 100000u

static int64_t sizes[IDS];
static unsigned freqs[IDS];

static int64_t size_of(uint32_t id, void *arg) {
    (void)arg;
    return sizes[id];
}

static unsigned freq_of(uint32_t id, void *arg) {
    (void)arg;
    return freqs[id];
}

static void set_freq(uint32_t id, unsigned freq, void *arg) {
    (void)arg;
    freqs[id] = freq;
}

/* A cache of `room` bytes; what a number stands for does not change, so its hash is the number's own. */
struct cache {
    struct evict *e;
    int64_t used, room;
    unsigned hits, misses;
};

static uint64_t hash_of(uint32_t id) {
    return id * 0x9E3779B97F4A7C15ULL;
}

static void make_room(struct cache *c) {
    while (c->used > c->room) {
        uint32_t id;
        int r = evict_next(c->e, &id);
        assert_int_not_equal(r, 0);
        if (r < 0) continue;
        evict_gone(c->e, hash_of(id));
        c->used -= sizes[id];
    }
}

static void use(struct cache *c, uint32_t id) {
    if (evict_has(c->e, id)) {
        c->hits++;
        if (freqs[id] < 3) freqs[id]++;
        return;
    }
    c->misses++;
    freqs[id] = 0;
    c->used += sizes[id];
    evict_add(c->e, id, hash_of(id));
    make_room(c);
}

static struct cache cache_new(int64_t room) {
    static const struct evict_ops ops = {size_of, freq_of, set_freq};
    memset(freqs, 0, sizeof(freqs));
    for (uint32_t i = 0; i < IDS; i++)
        sizes[i] = 1;
    return (struct cache){.e = evict_new(&ops, NULL), .room = room};
}

static void a_hot_set_survives_a_scan_twice_the_cache(void **state) {
    (void)state;
    struct cache c = cache_new(1000);
    for (int round = 0; round < 3; round++) {
        for (uint32_t id = 1; id <= 600; id++)
            use(&c, id);
    }
    for (uint32_t id = 10000; id < 12000; id++)
        use(&c, id);
    unsigned left = 0;
    for (uint32_t id = 1; id <= 600; id++)
        left += evict_has(c.e, id);
    assert_in_range(left, 590, 600);
    assert_int_equal(c.used, 1000);
    evict_free(c.e);
}

static void a_blob_that_returns_soon_goes_to_the_main_queue(void **state) {
    (void)state;
    struct cache c = cache_new(100);
    for (uint32_t id = 1; id <= 100; id++)
        use(&c, id);
    use(&c, 101); /* pushes 1 out */
    assert_false(evict_has(c.e, 1));
    use(&c, 1);
    for (uint32_t id = 1000; id < 1080; id++)
        use(&c, id);
    assert_true(evict_has(c.e, 1));
    evict_free(c.e);
}

static void unused_entries_go_oldest_first(void **state) {
    (void)state;
    struct cache c = cache_new(1 << 20);
    for (uint32_t id = 1; id <= 10; id++)
        use(&c, id);
    evict_remove(c.e, 2);
    evict_remove(c.e, 2);
    for (uint32_t want = 1; want <= 10; want++) {
        uint32_t id;
        if (want == 2) continue;
        assert_int_equal(evict_next(c.e, &id), 1);
        assert_int_equal(id, want);
    }
    uint32_t id;
    assert_int_equal(evict_next(c.e, &id), 0);
    evict_free(c.e);
}

static void the_small_queue_is_a_tenth_of_the_bytes(void **state) {
    (void)state;
    struct cache c = cache_new(1 << 20);
    sizes[1] = 800; /* one big entry in the main queue */
    evict_keep(c.e, 1);
    for (uint32_t id = 2; id < 52; id++)
        evict_add(c.e, id, hash_of(id));
    uint32_t id;
    assert_int_equal(evict_next(c.e, &id), 1);
    assert_int_equal(id, 1); /* 50 of 850 is less than a tenth */
    assert_int_equal(evict_next(c.e, &id), 1);
    assert_int_equal(id, 2);
    evict_free(c.e);
}

#define TINY (512 * KiB)

/* Eighty large ones, 1 to 80, and tiny ones, from 101, evenly among them; each used once. */
static struct cache with_tiny_among_large(uint32_t n_tiny) {
    struct cache c = cache_new(1LL << 40);
    for (uint32_t i = 0, large = 0; i < n_tiny; i++) {
        sizes[101 + i] = 1000;
        use(&c, 101 + i);
        if (i % (n_tiny / 80)) continue;
        sizes[++large] = 10 * MiB;
        use(&c, large);
    }
    return c;
}

static void tiny_blobs_are_spared_while_large_ones_are_evicted(void **state) {
    (void)state;
    struct cache c = with_tiny_among_large(80);
    c.room = 40 * 10 * MiB + 80 * 1000;
    make_room(&c);
    for (uint32_t id = 101; id <= 180; id++)
        assert_true(evict_has(c.e, id));
    assert_int_equal(evict_len(c.e), 80 + 40);
    c.room = 0; /* in the end they go too */
    make_room(&c);
    assert_int_equal(evict_len(c.e), 0);
    assert_int_equal(c.used, 0);
    evict_free(c.e);
}

static void spared_blobs_take_at_most_a_fiftieth_of_the_bytes(void **state) {
    (void)state;
    struct cache c = with_tiny_among_large(20000);
    c.room = 200 * MiB;
    make_room(&c);
    int64_t spared = 0; /* of those that would have gone with the large ones around them */
    for (uint32_t id = 101; id < 15000; id++)
        spared += evict_has(c.e, id) ? sizes[id] : 0;
    assert_in_range(spared, c.used / 60, c.used / 45);
    assert_true(evict_has(c.e, 14999));
    assert_false(evict_has(c.e, 101)); /* first in, first out */
    evict_free(c.e);
}

static void a_size_at_the_limit_is_tiny_and_one_above_is_not(void **state) {
    (void)state;
    struct cache c = cache_new(1LL << 40);
    sizes[1] = TINY;
    sizes[2] = TINY + 1;
    sizes[3] = GiB;
    uint32_t id;
    for (id = 1; id <= 3; id++)
        use(&c, id);
    assert_int_equal(evict_next(c.e, &id), 1);
    assert_int_equal(id, 2);
    assert_true(evict_has(c.e, 1));
    evict_free(c.e);
}

/* One that is used while it is spared goes back to the main queue: more tiny ones do not push it out. */
static void a_spared_blob_that_is_used_moves_to_the_main_queue(void **state) {
    (void)state;
    struct cache c = with_tiny_among_large(80);
    c.room = c.used / 2;
    make_room(&c);
    use(&c, 101);
    for (uint32_t id = 1000; id < 7000; id++) {
        sizes[id] = 100 * KiB;
        use(&c, id);
    }
    assert_true(evict_has(c.e, 101));
    assert_false(evict_has(c.e, 102));
    evict_free(c.e);
}

static void a_ghost_lives_a_quarter_as_long_as_the_queues(void **state) {
    (void)state;
    for (uint32_t after = 230; after <= 270; after += 40) {
        struct cache c = cache_new(1000);
        for (uint32_t id = 1; id <= 1000; id++)
            use(&c, id);
        use(&c, 2000); /* 1 goes */
        for (uint32_t id = 0; id < after; id++)
            use(&c, 3000 + id);
        assert_false(evict_has(c.e, 1));
        use(&c, 1);
        for (uint32_t id = 0; id < 1200; id++)
            use(&c, 10000 + id);
        assert_int_equal(evict_has(c.e, 1), after < 250); /* in the main queue, or passing through the small one */
        evict_free(c.e);
    }
}

/* Whatever is done in whatever order, what was put in is in until it is taken out, and all of it comes out once. */
static void nothing_is_lost_or_doubled(void **state) {
    (void)state;
    struct cache c = cache_new(1 << 20);
    static bool in[1001];
    size_t n = 0;
    uint32_t x = 7, id;
    for (unsigned i = 0; i < 300000; i++) {
        x = x * 1664525u + 1013904223u;
        id = 1 + (x >> 8) % 1000;
        unsigned what = x >> 28;
        if (what < 6 && !in[id]) {
            sizes[id] = (x & 64) ? 1 + (x >> 8) % 4096 : 2 * MiB; /* of a place that is free: sizes stay while queued */
            freqs[id] = 0;
            what < 5 ? evict_add(c.e, id, hash_of(id)) : evict_keep(c.e, id);
            in[id] = true;
            n++;
        } else if (what == 6) {
            evict_remove(c.e, id);
            n -= in[id];
            in[id] = false;
        } else if (what < 10 && evict_next(c.e, &id) == 1) {
            assert_true(in[id]);
            in[id] = false;
            n--;
            evict_gone(c.e, hash_of(id));
        } else if (what >= 10 && in[id] && freqs[id] < 3) {
            freqs[id]++;
        }
        assert_int_equal(evict_len(c.e), n);
    }
    for (int r; (r = evict_next(c.e, &id)) != 0;) {
        if (r < 0) continue;
        assert_true(in[id]);
        in[id] = false;
        n--;
    }
    assert_int_equal(n, 0);
    evict_free(c.e);
}

static void a_wait_for_the_disk_is_cut_short(void **state) {
    (void)state;
    struct cache c = cache_new(1 << 20);
    for (uint32_t i = 1; i < 5000; i++) {
        evict_keep(c.e, i);
        freqs[i] = 1;
    }
    uint32_t id;
    assert_int_equal(evict_next(c.e, &id), -1);
    int r, calls = 0;
    while ((r = evict_next(c.e, &id)) < 0)
        assert_true(++calls < 100);
    assert_int_equal(r, 1);
    assert_int_equal(evict_len(c.e), 4998);
    evict_free(c.e);
}

/* All that may go is refused, as a manifest is for its child, which is tiny and used all the time. */
static void used_blobs_are_evicted_when_the_store_refuses_all_others(void **state) {
    (void)state;
    for (unsigned spared = 0; spared < 2; spared++) {
        struct cache c = cache_new(1 << 20);
        for (uint32_t i = 1; i <= 8; i++) {
            sizes[i] = MiB;
            evict_add(c.e, i, hash_of(i));
        }
        evict_keep(c.e, 9);
        uint32_t id;
        unsigned refused = 0;
        freqs[9] = spared ? 0 : 3; /* on its way through the queues; it is used again after each that is refused */
        for (;;) {
            assert_int_equal(evict_next(c.e, &id), 1);
            if (id == 9) break;
            evict_keep(c.e, id);
            freqs[9] = 3;
            assert_true(++refused <= 18);
        }
        evict_free(c.e);
    }
}

/* A skewed stream with one-off scans in between: more hits than FIFO order alone could give. */
static void a_skewed_stream_with_scans_keeps_its_hits(void **state) {
    (void)state;
    struct cache c = cache_new(1000);
    uint32_t x = 1, scan = 50000;
    for (unsigned i = 0; i < 200000; i++) {
        x = x * 1664525u + 1013904223u;
        uint32_t u = (x >> 8) % 10000;
        use(&c, 1 + (uint32_t)((uint64_t)u * u * u / 100000000u)); /* cubic skew over 10,000 */
        if (i % 4 == 0) use(&c, scan = scan + 1 < IDS ? scan + 1 : 50000);
    }
    double ratio = (double)c.hits / 200000;
    assert_true(ratio > 0.40); /* ideal, knowing the popular 1,000: 0.46 */
    evict_free(c.e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hot_set_survives_a_scan_twice_the_cache),
        cmocka_unit_test(a_blob_that_returns_soon_goes_to_the_main_queue),
        cmocka_unit_test(unused_entries_go_oldest_first),
        cmocka_unit_test(the_small_queue_is_a_tenth_of_the_bytes),
        cmocka_unit_test(tiny_blobs_are_spared_while_large_ones_are_evicted),
        cmocka_unit_test(spared_blobs_take_at_most_a_fiftieth_of_the_bytes),
        cmocka_unit_test(a_size_at_the_limit_is_tiny_and_one_above_is_not),
        cmocka_unit_test(a_spared_blob_that_is_used_moves_to_the_main_queue),
        cmocka_unit_test(a_ghost_lives_a_quarter_as_long_as_the_queues),
        cmocka_unit_test(nothing_is_lost_or_doubled),
        cmocka_unit_test(a_wait_for_the_disk_is_cut_short),
        cmocka_unit_test(used_blobs_are_evicted_when_the_store_refuses_all_others),
        cmocka_unit_test(a_skewed_stream_with_scans_keeps_its_hits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
