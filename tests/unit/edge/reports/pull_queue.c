/* Pulls on their way from an edge to central: both sides by their own code, with answers lost and either side killed at
 * random, and each pull counted once in the end. */
#include "edge/reports/pull_queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "central/reports/book.h"
#include "common/core/log.h"
#include "tests/unit/support/book_read.h"
#include "tests/unit/support/folder.h"

static struct loop *edge_loop, *central_loop;
static struct pull_queue *queue;
static struct holdings *held;
static struct report_book *book;
static char dir[64];
static uint32_t seed;
static int64_t now_ms;
static unsigned names_max;

static uint32_t next_random(uint32_t below) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static bool is_gone(const char *edge, void *arg) {
    (void)edge, (void)arg;
    return false;
}

static void central_starts(void) {
    struct error err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s/central.db", dir);
    held = holdings_new(1000);
    assert_int_equal(report_book_open(&book, path, held, names_max, is_gone, NULL, &err), 0);
    book_until_read(book, central_loop);
}

static void central_stops(void) {
    report_book_close(book);
    holdings_free(held);
}

static void edge_starts(void) {
    struct error err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s/edge.db", dir);
    edge_loop = loop_new("edge");
    assert_int_equal(pull_queue_open(&queue, path, edge_loop, names_max, &err), 0);
}

static void edge_stops(void) {
    pull_queue_close(queue);
    loop_free(edge_loop);
}

static int set_up(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    snprintf(dir, sizeof(dir), "/tmp/pulls-XXXXXX");
    assert_non_null(mkdtemp(dir));
    seed = 7;
    now_ms = 1000;
    names_max = 5000;
    central_loop = loop_new("central");
    central_starts();
    edge_starts();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    edge_stops();
    central_stops();
    loop_free(central_loop);
    return folder_remove(dir);
}

static void pull(unsigned tag, unsigned times) {
    const struct repo_name repo = {.upstream = "docker.io", .path = "library/app"};
    char name[TAG_MAX + 1];
    snprintf(name, sizeof(name), "t%u", tag);
    while (times-- > 0)
        pull_queue_count(queue, &repo, name);
}

static bool all_written(void) {
    struct pull_queue_stats s;
    pull_queue_stats(queue, &s);
    return s.unwritten == 0;
}

struct pause {
    struct timer timer;
    bool (*until)(void);
};

static void look(void *arg) {
    struct pause *p = arg;
    if (p->until())
        loop_stop(edge_loop);
    else
        timer_set(&p->timer, 5);
}

/* Runs the edge's loop until something is so. */
static void await(bool (*until)(void)) {
    struct pause p = {.until = until};
    timer_init(&p.timer, edge_loop, look, &p);
    timer_set(&p.timer, 0);
    loop_run(edge_loop);
    timer_fini(&p.timer);
}

static struct wire_pulls *told;

static bool has_batch(void) {
    told = pull_queue_tell(queue, now_ms);
    return told != NULL;
}

static bool has_none(void) {
    struct pull_queue_stats s;
    pull_queue_stats(queue, &s);
    return s.unwritten + s.queued == 0 || has_batch();
}

static void on_done(struct book_entry *e) {
    loop_stop(e->loop);
}

/* Central takes the batch that is told now. Returns what it answers. */
static uint64_t take(void) {
    struct wire_report m = {.has_heartbeat = true, .pulls = told};
    uint8_t *bytes;
    size_t len;
    assert_int_equal(wire_report_encode(&m, &bytes, &len), 0);
    struct book_entry e = {.edge = "sh-1", .site = "shanghai", .loop = central_loop, .done = on_done};
    assert_int_equal(wire_report_decode(&e.report, bytes, len), 0);
    free(bytes);
    if (!report_book_take(book, &e)) loop_run(central_loop);
    assert_int_equal(e.code, 0);
    return e.answer.pulls_taken;
}

static void deliver_all(void) {
    for (;;) {
        told = NULL;
        await(has_none);
        if (!told) return;
        pull_queue_answered(queue, take(), now_ms);
    }
}

static int64_t pulls_of(unsigned tag) {
    json_t *doc, *r;
    size_t i;
    char name[32];
    int64_t n = 0;
    snprintf(name, sizeof(name), "t%u", tag);
    assert_int_equal(report_book_pulls_json(book, "docker.io/library/app", 10000, &doc), 0);
    json_array_foreach(json_object_get(doc, "most"), i, r) {
        if (strcmp(json_string_value(json_object_get(r, "tag")), name) == 0)
            n = json_integer_value(json_object_get(r, "pulls"));
    }
    json_decref(doc);
    return n;
}

static void a_batch_that_is_told_twice_counts_once(void **state) {
    (void)state;
    pull(1, 3);
    await(has_batch);
    uint64_t sequence = told->sequence;
    assert_int_equal(take(), sequence);
    pull(1, 2); /* not in the batch */
    await(all_written);
    assert_true(has_batch());
    assert_true(told->sequence == sequence && told->n == 1 && told->counts[0].count == 3);
    assert_int_equal(take(), sequence);
    pull_queue_answered(queue, sequence, now_ms);
    deliver_all();
    assert_int_equal(pulls_of(1), 5);
    assert_int_equal(report_book_pulls(book), 5);
}

static void a_central_that_takes_no_pulls_is_told_them_now_and_then(void **state) {
    (void)state;
    pull(1, 1);
    await(has_batch);
    pull_queue_answered(queue, 0, now_ms);
    assert_null(pull_queue_tell(queue, now_ms + 1000));
    assert_non_null(pull_queue_tell(queue, now_ms + 61000));
    now_ms += 61000;
    deliver_all();
    assert_int_equal(pulls_of(1), 1);
}

static void whatever_is_lost_each_pull_counts_once(void **state) {
    (void)state;
    int64_t expected[20] = {0}, all = 0;
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned i = next_random(5); i > 0; i--) {
            unsigned tag = next_random(20), times = 1 + next_random(9);
            pull(tag, times);
            expected[tag] += times;
            all += times;
        }
        told = NULL;
        await(has_none);
        if (told && next_random(3)) {
            uint64_t taken = take();
            if (next_random(2)) pull_queue_answered(queue, taken, now_ms);
        }
        unsigned event = next_random(5);
        if (event == 0) {
            central_stops();
            central_starts();
        } else if (event == 1) {
            edge_stops();
            edge_starts();
        }
    }
    deliver_all();
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(pulls_of(i), expected[i]);
    assert_int_equal(report_book_pulls(book), all);
}

static void many_names_come_in_several_batches(void **state) {
    (void)state;
    for (unsigned i = 0; i < 1500; i++)
        pull(i, 1 + i % 3);
    unsigned batches = 0;
    for (;; batches++) {
        told = NULL;
        await(has_none);
        if (!told) break;
        assert_true(told->n <= 400);
        pull_queue_answered(queue, take(), now_ms);
    }
    assert_true(batches >= 4);
    assert_true(pulls_of(0) == 1 && pulls_of(1499) == 1 + 1499 % 3);
    assert_int_equal(report_book_pulls(book), 3000);
}

static void names_beyond_the_bound_are_counted_together(void **state) {
    (void)state;
    edge_stops();
    central_stops();
    names_max = 100;
    central_starts();
    edge_starts();
    for (unsigned i = 0; i < 1000; i++)
        pull(i, 1);
    pull(5, 50);
    await(all_written);
    deliver_all();
    assert_int_equal(pulls_of(5), 51);
    assert_int_equal(report_book_pulls(book), 1050);
    json_t *doc;
    assert_int_equal(report_book_pulls_json(book, NULL, 10000, &doc), 0);
    assert_true(json_array_size(json_object_get(doc, "most")) <= 100 + 256);
    assert_true(json_integer_value(json_object_get(doc, "other")) >= 600);
    json_decref(doc);
}

/* As when a virtual machine's disk is put back: what is numbered anew would be taken for what central has. */
static void an_older_copy_of_the_edges_file_loses_one_batch_at_most(void **state) {
    (void)state;
    char command[400];
    pull(1, 1);
    deliver_all();
    edge_stops();
    snprintf(command, sizeof(command), "cp %s/edge.db %s/older.db", dir, dir);
    assert_int_equal(system(command), 0);
    edge_starts();
    for (unsigned i = 0; i < 5; i++) {
        pull(2, 1);
        deliver_all();
    }
    edge_stops();
    snprintf(command, sizeof(command), "rm %s/edge.db*; cp %s/older.db %s/edge.db", dir, dir, dir);
    assert_int_equal(system(command), 0);
    edge_starts();
    pull(3, 7);
    deliver_all();
    pull(3, 8);
    deliver_all();
    assert_int_equal(pulls_of(2), 5);
    assert_in_range(pulls_of(3), 8, 15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_batch_that_is_told_twice_counts_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_central_that_takes_no_pulls_is_told_them_now_and_then, set_up, tear_down),
        cmocka_unit_test_setup_teardown(whatever_is_lost_each_pull_counts_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_names_come_in_several_batches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_beyond_the_bound_are_counted_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_older_copy_of_the_edges_file_loses_one_batch_at_most, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
