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

static void what_comes_back_soon_goes_to_the_main_queue(void **state) {
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

static void a_long_look_is_cut_short(void **state) {
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
        cmocka_unit_test(what_comes_back_soon_goes_to_the_main_queue),
        cmocka_unit_test(unused_entries_go_oldest_first),
        cmocka_unit_test(the_small_queue_is_a_tenth_of_the_bytes),
        cmocka_unit_test(a_long_look_is_cut_short),
        cmocka_unit_test(a_skewed_stream_with_scans_keeps_its_hits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
