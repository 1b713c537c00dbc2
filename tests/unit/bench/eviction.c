/* The simulator of eviction policies, against traces small enough to be worked out by hand. */
#include "tests/bench/eviction/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sizes of objects 1, 2, ... and the order in which they are asked for. */
static struct trace *trace_of(const int64_t *sizes, size_t n_sizes, const char *order) {
    struct trace *t = trace_new();
    for (size_t i = 0; i < n_sizes; i++)
        trace_add_object(t, TRACE_LAYER, sizes[i]);
    for (; *order; order++)
        trace_ask(t, 0, (uint32_t)(*order - 'a' + 1), 0);
    return t;
}

/* '+' for each hit, '-' for each miss. */
static void expect(const struct policy *p, const int64_t *sizes, size_t n, int64_t room, const char *order,
                   const char *want) {
    struct trace *t = trace_of(sizes, n, order);
    char got[64] = "";
    void *cache = p->start(t, room, p->settings);
    for (size_t i = 0; i < t->n; i++)
        got[i] = p->ask(cache, i) ? '+' : '-';
    p->end(cache);
    trace_free(t);
    assert_string_equal(got, want);
}

static const int64_t ones[] = {1, 1, 1, 1, 1, 1, 1};
#define ONES ones, 7

static void lru_keeps_what_was_used_last(void **state) {
    (void)state;
    expect(&policy_lru, ONES, 3, "abcadbac", "---+--+-");
    expect(&policy_lru, (int64_t[]){3, 1, 1}, 3, 4, "abcba", "---+-"); /* c pushes the large a out */
}

static void belady_keeps_what_is_used_next(void **state) {
    (void)state;
    expect(&policy_belady, ONES, 2, "abcab", "---++"); /* c, never asked for again, is not let in */
    expect(&policy_belady, ONES, 2, "abcbaca", "---++-+");
    expect(&policy_lru, ONES, 2, "abcbaca", "---+--+");
}

static void gdsf_prefers_small_ones_and_lfuda_frequent_ones(void **state) {
    (void)state;
    const int64_t sizes[] = {4, 1, 1};
    expect(&policy_gdsf, sizes, 3, 5, "aabcba", "-+--+-"); /* the large a goes although it was used more */
    expect(&policy_lfuda, sizes, 3, 5, "aaabcba", "-++---+");
    expect(&policy_lfuda, ONES, 2, "aaabca", "-++--+");
    expect(&policy_lru, ONES, 2, "aaabca", "-++---");
}

static void s3fifo_promotes_what_was_used_twice_or_came_back(void **state) {
    (void)state;
    expect(&policy_s3fifo, ONES, 3, "aaabcdea", "-++----+");   /* a moves to the main queue; b, c, d pass */
    expect(&policy_s3fifo, ONES, 3, "abcdaefga", "--------+"); /* a comes back as a ghost and stays */
}

static void the_product_promotes_what_was_used_once_or_came_back(void **state) {
    (void)state;
    expect(&policy_queues, ONES, 3, "aabcdea", "-+----+");
    expect(&policy_queues, ONES, 3, "abcdaefga", "--------+");
}

static void a_cache_without_a_limit_misses_each_once(void **state) {
    (void)state;
    expect(&policy_infinite, ONES, 1, "abcabc", "---+++");
}

static void the_bound_counts_the_shortest_stays(void **state) {
    (void)state;
    /* Stays: a's of 1, b's of 2; both fit into room for 1 over 5 requests. */
    struct trace *t = trace_of(ones, 7, "aabcb");
    assert_true(fabs(bound_bytes(t, 1) - 40.0) < 1e-9);
    trace_free(t);
    /* Room 1 over 6 requests, three stays of 3: two of them fit. */
    t = trace_of(ones, 7, "abcabc");
    assert_true(fabs(bound_bytes(t, 1) - 100.0 * 2 / 6) < 1e-9);
    trace_free(t);
}

static struct trace_model small_model(uint64_t seed) {
    struct trace_model m = trace_model_default(seed);
    m.days = 6;
    m.repos = 80;
    m.nodes = 12;
    m.pulls = 400;
    m.ci = 20;
    m.scan = 30;
    return m;
}

static const struct policy *const real[] = {&policy_lru,    &policy_gdsf,   &policy_lfuda,
                                            &policy_s3fifo, &policy_queues, &policy_store};
#define N_REAL (sizeof(real) / sizeof(real[0]))

static void no_policy_beats_the_bound_and_belady_beats_the_others(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct trace_model m = small_model(seed);
        struct trace *t = trace_generate(&m);
        for (int percent = 5; percent <= 25; percent += 10) {
            int64_t room = trace_footprint(t) / 100 * percent;
            struct result best = policy_run(&policy_belady, t, room), all = policy_run(&policy_infinite, t, room);
            assert_true(result_bytes(&best) <= bound_bytes(t, room) + 1e-9);
            assert_true(result_bytes(&best) <= result_bytes(&all));
            for (size_t i = 0; i < N_REAL; i++) {
                struct result r = policy_run(real[i], t, room);
                assert_int_equal(r.asked, t->n);
                assert_int_equal(r.asked_bytes, trace_bytes(t));
                assert_true(result_bytes(&r) <= result_bytes(&best));
            }
        }
        trace_free(t);
    }
}

static char *text_of(const struct trace *t, size_t *len) {
    char *text = NULL;
    FILE *f = open_memstream(&text, len);
    assert_non_null(f);
    trace_write(t, f);
    fclose(f);
    return text;
}

static char *text_of_seed(uint64_t seed, size_t *len) {
    struct trace_model m = small_model(seed);
    struct trace *t = trace_generate(&m);
    char *text = text_of(t, len);
    trace_free(t);
    return text;
}

static void the_same_seed_gives_the_same_trace(void **state) {
    (void)state;
    size_t n1, n2, n3;
    char *a = text_of_seed(7, &n1), *b = text_of_seed(7, &n2), *c = text_of_seed(8, &n3);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    free(a);
    free(b);
    free(c);
}

static struct trace *parse(const char *text, unsigned long *line) {
    FILE *f = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    assert_non_null(f);
    struct trace *t = trace_read(f, line);
    fclose(f);
    return t;
}

static void a_written_trace_reads_back_as_it_was(void **state) {
    (void)state;
    struct trace_model m = small_model(9);
    struct trace *t = trace_generate(&m);
    size_t len;
    unsigned long line;
    char *text = text_of(t, &len);
    struct trace *back = parse(text, &line);
    assert_non_null(back);
    assert_int_equal(back->n, t->n);
    assert_int_equal(trace_footprint(back), trace_footprint(t));
    for (size_t i = 0; i < t->n; i++) {
        const struct trace_request *x = &t->requests[i], *y = &back->requests[i];
        assert_int_equal(x->at, y->at);
        assert_int_equal(t->objects[x->object].size, back->objects[y->object].size);
        assert_int_equal(t->objects[x->object].kind, back->objects[y->object].kind);
        assert_int_equal(x->of != 0, y->of != 0);
    }
    int64_t room = trace_footprint(t) / 10;
    struct result r1 = policy_run(&policy_lru, t, room), r2 = policy_run(&policy_lru, back, room);
    assert_int_equal(r1.hit_bytes, r2.hit_bytes);
    free(text);
    trace_free(t);
    trace_free(back);
}

static void a_malformed_trace_is_refused_with_its_line(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned long line;
    } bad[] = {
        {"1 1 10 l\n1 1 11 l\n", 2}, /* a size that changes */
        {"# hello\n1 1 -5 l\n", 2},  {"1 1 10 x\n", 1}, {"1 1\n", 1}, {"GET /v2/ HTTP/1.1\n", 1},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        unsigned long line;
        assert_null(parse(bad[i].text, &line));
        assert_int_equal(line, bad[i].line);
    }
    unsigned long line;
    struct trace *t = parse("# a comment\n\n5 900 10 m\n5 901 20 l 900\n6 901 20 l 900\n", &line);
    assert_non_null(t);
    assert_int_equal(t->n, 3);
    assert_int_equal(t->n_objects, 2);
    assert_int_equal(t->requests[1].of, 1);
    trace_free(t);
}

/* What is asked for every day stays held while a scanner reads ten times the room. */
static void a_scan_leaves_the_popular_set(void **state) {
    (void)state;
    const struct policy *mine[] = {&policy_queues, &policy_store};
    for (size_t k = 0; k < 2; k++) {
        struct trace *t = trace_new();
        for (uint32_t id = 1; id <= 10600; id++)
            trace_add_object(t, TRACE_LAYER, 1000000 + id % 7 * 1000000);
        for (unsigned round = 0; round < 4; round++) {
            for (uint32_t id = 1; id <= 600; id++)
                trace_ask(t, round, id, 0);
        }
        for (uint32_t id = 601; id <= 10600; id++)
            trace_ask(t, 5, id, 0);
        void *cache = mine[k]->start(t, 4000LL * 1000000, mine[k]->settings);
        for (size_t i = 0; i < t->n; i++)
            mine[k]->ask(cache, i);
        unsigned left = 0;
        for (uint32_t id = 1; id <= 600; id++)
            left += mine[k]->has(cache, id);
        assert_in_range(left, 594, 600);
        mine[k]->end(cache);
        trace_free(t);
    }
}

static void the_store_keeps_manifests_for_their_children(void **state) {
    (void)state;
    struct trace *t = trace_new();
    uint32_t manifest = trace_add_object(t, TRACE_MANIFEST, 1000), layer = trace_add_object(t, TRACE_LAYER, 100000);
    trace_ask(t, 0, manifest, 0);
    for (int i = 0; i < 4; i++)
        trace_ask(t, 0, layer, manifest);
    for (unsigned i = 0; i < 40; i++)
        trace_ask(t, 1, trace_add_object(t, TRACE_LAYER, 100000), 0);
    for (unsigned k = 0; k < 2; k++) {
        const struct policy *p = k ? &policy_store : &policy_queues;
        void *cache = p->start(t, 1000000, p->settings);
        for (size_t i = 0; i < t->n; i++)
            p->ask(cache, i);
        assert_true(p->has(cache, layer));
        assert_int_equal(p->has(cache, manifest), k);
        p->end(cache);
    }
    trace_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lru_keeps_what_was_used_last),
        cmocka_unit_test(belady_keeps_what_is_used_next),
        cmocka_unit_test(gdsf_prefers_small_ones_and_lfuda_frequent_ones),
        cmocka_unit_test(s3fifo_promotes_what_was_used_twice_or_came_back),
        cmocka_unit_test(the_product_promotes_what_was_used_once_or_came_back),
        cmocka_unit_test(a_cache_without_a_limit_misses_each_once),
        cmocka_unit_test(the_bound_counts_the_shortest_stays),
        cmocka_unit_test(no_policy_beats_the_bound_and_belady_beats_the_others),
        cmocka_unit_test(the_same_seed_gives_the_same_trace),
        cmocka_unit_test(a_written_trace_reads_back_as_it_was),
        cmocka_unit_test(a_malformed_trace_is_refused_with_its_line),
        cmocka_unit_test(a_scan_leaves_the_popular_set),
        cmocka_unit_test(the_store_keeps_manifests_for_their_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
