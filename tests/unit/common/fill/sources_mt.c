/* A fill and its sources: cut, lying, refusing, asked for a part far ahead, asked for another repository. */
#include "tests/unit/common/fill/world.h"

static void fill_keeps_what_a_cut_source_sent_and_goes_on_from_there(void **state) {
    (void)state;
    const int64_t size = 6 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "cut", size, &d);
    s.cut_at = 3 * MB;
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    taker_expect(&t, data);
    assert_int_equal(atomic_load(&s.last_offset), 3 * MB);
    assert_int_equal(atomic_load(&s.sent), size);
    world_end(data);
}

static void fill_takes_back_only_the_piece_the_catalogue_disproves(void **state) {
    (void)state;
    const int64_t size = 14 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script wrong, honest;
    script_init(&wrong, "wrong", data, size);
    wrong.wrong_at = 5 * MB;
    script_init(&honest, "honest", data, size);
    world = (typeof(world)){.sources = {&wrong, &honest}, .n_sources = 2};
    world_prove(data, size);
    world_start(0);
    struct taker early, ranged;
    /* This one waits beyond the wrong piece: it has been given nothing that is taken back. */
    taker_start(&ranged, 1, &d, size, "a", 9 * MB, 10 * MB);
    taker_expect(&ranged, data);
    taker_start(&early, 0, &d, size, "a", 0, 0);
    taker_expect(&early, data);
    assert_int_equal(atomic_load(&honest.last_offset), 4 * MB);
    world_end(data);
}

/* The digest decides, whatever else is said. */
static void fill_goes_on_when_the_catalogue_is_wrong(void **state) {
    (void)state;
    const int64_t size = 14 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    world_prove(data, size)[32] ^= 1;
    world_start(0);
    struct taker t;
    /* One that waits further on: others may have been given what is taken back once. */
    taker_start(&t, 0, &d, size, "a", 13 * MB, size);
    taker_expect(&t, data);
    wait_until_held(&d);
    assert_int_equal(atomic_load(&s.starts), 2);
    world_end(data);
}

/* One reader of all, whose source stops after 1 MiB. */
static void start_held_back(struct taker *front, struct script *s, const struct digest *d, int64_t size) {
    world_start(0);
    atomic_store(&s->gate, 1 * MB);
    taker_start(front, 0, d, size, "a", 0, 0);
    while (atomic_load(&s->sent) < 1 * MB)
        sched_yield();
}

static void fill_fetches_a_far_range_aside(void **state) {
    (void)state;
    const int64_t size = 40 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "slow", size, &d);
    struct taker front, far;
    start_held_back(&front, &s, &d, size);
    /* What is written stands at 1 MiB and shall not get to 30 by itself: only a stretch ahead can start there. */
    taker_start(&far, 1, &d, size, "a", 30 * MB, 30 * MB + 1000);
    while (atomic_load(&s.last_offset) != 28 * MB)
        sched_yield();
    atomic_store(&s.gate, INT64_MAX);
    taker_expect(&far, data);
    taker_expect(&front, data);
    world_end(data);
}

static void fill_says_who_sent_a_wrong_piece_aside(void **state) {
    (void)state;
    const int64_t size = 40 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "wrong", size, &d);
    world_prove(data, size);
    s.wrong_at = 29 * MB;
    s.gate_first = true;
    struct taker front, far;
    start_held_back(&front, &s, &d, size);
    taker_start(&far, 1, &d, size, "a", 30 * MB, 30 * MB + 1000);
    taker_expect(&far, data);
    assert_int_equal(atomic_load(&s.starts), 3);
    assert_int_equal(atomic_load(&s.blamed), 1);
    assert_int_equal(atomic_load(&s.doubted), 1);
    atomic_store(&s.gate, INT64_MAX);
    taker_expect(&front, data);
    world_end(data);
}

/* --- two sources, each with a stretch of its own --- */

static int64_t stall_ahead(struct script_fetch *f, unsigned char *chunk, int64_t n) {
    (void)chunk;
    return f->ranged ? 0 : n;
}

static int64_t flip_ahead(struct script_fetch *f, unsigned char *chunk, int64_t n) {
    if (f->ranged) chunk[0] ^= 1;
    return n;
}

static int64_t vanish_ahead(struct script_fetch *f, unsigned char *chunk, int64_t n) {
    (void)chunk;
    return f->ranged ? ERR_UNREACHABLE : n;
}

/* The first one sends from the start and is bad at what lies ahead: the second is asked for that, while the first goes
 * on sending. */
static void give_second_source_a_stretch(int64_t (*bad_ahead)(struct script_fetch *, unsigned char *, int64_t)) {
    const int64_t size = 40 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script first, second;
    script_init(&first, "first", data, size);
    script_init(&second, "second", data, size);
    first.rule = bad_ahead;
    first.gate_first = true;
    world = (typeof(world)){.sources = {&first, &second}, .n_sources = 2};
    world_prove(data, size);
    struct taker front, far;
    start_held_back(&front, &first, &d, size);
    taker_start(&far, 1, &d, size, "a", 30 * MB, 30 * MB + 1000);
    taker_expect(&far, data);
    assert_int_equal(atomic_load(&first.starts), 2);
    assert_int_equal(atomic_load(&second.starts), 1);
    assert_int_equal(atomic_load(&second.last_offset), 28 * MB);
    atomic_store(&first.gate, INT64_MAX);
    taker_expect(&front, data);
    assert_int_equal(atomic_load(&second.starts), 1);
    world_end(data);
}

static void fill_gives_another_source_the_stretch_of_one_that_stalls(void **state) {
    (void)state;
    give_second_source_a_stretch(stall_ahead);
}

static void fill_gives_another_source_the_stretch_of_one_that_sends_wrong_bytes(void **state) {
    (void)state;
    give_second_source_a_stretch(flip_ahead);
}

static void fill_gives_another_source_the_stretch_of_one_that_vanishes(void **state) {
    (void)state;
    give_second_source_a_stretch(vanish_ahead);
}

/* Nor is a piece asked for without end. */
static void fill_leaves_it_to_the_main_fetch_when_pieces_aside_are_never_right(void **state) {
    (void)state;
    const int64_t size = 40 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    world_prove(data, size)[7 * 32] ^= 1;
    s.gate_first = true;
    struct taker front, far;
    start_held_back(&front, &s, &d, size);
    taker_start(&far, 1, &d, size, "a", 30 * MB, 30 * MB + 1000);
    while (atomic_load(&s.sent) < 1 * MB + 3 * PIECE_SIZE)
        sched_yield();
    atomic_store(&s.gate, INT64_MAX);
    taker_expect(&far, data);
    taker_wait(&front); /* may have been given what is taken back */
    wait_until_held(&d);
    assert_int_equal(atomic_load(&s.starts), 5);
    free(front.got);
    world_end(data);
}

static void fill_fails_with_not_found_when_every_source_says_so(void **state) {
    (void)state;
    struct digest d;
    unsigned char *data = random_data(10, &d);
    struct script a, b;
    script_init(&a, "a", data, 10);
    script_init(&b, "b", data, 10);
    a.refuse = ERR_NOT_FOUND;
    b.refuse = ERR_NOT_FOUND;
    world = (typeof(world)){.sources = {&a, &b}, .n_sources = 2, .advise_size = -1};
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, 10, "a", 0, 0);
    taker_fails(&t, ERR_NOT_FOUND);
    b.refuse = ERR_UNREACHABLE;
    taker_start(&t, 0, &d, 10, "a", 0, 0);
    taker_fails(&t, ERR_UNREACHABLE);
    world_end(data);
}

/* A source that answers with an error has tried again itself; that it could not be heard is tried once more. */
static void fill_does_not_retry_after_a_definite_error(void **state) {
    (void)state;
    static const struct {
        int code, status, starts;
    } cases[] = {{ERR_UPSTREAM, 502, 1}, {ERR_UPSTREAM, 500, 1}, {ERR_TIMEOUT, 504, 1},
                 {ERR_UPSTREAM, 503, 2}, {ERR_UPSTREAM, 0, 2},   {ERR_TIMEOUT, 0, 2}};
    struct digest d;
    unsigned char *data = random_data(10, &d);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct script s;
        script_init(&s, "one", data, 10);
        s.refuse = cases[i].code;
        s.status = cases[i].status;
        world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1};
        world_start(0);
        struct taker t;
        taker_start(&t, 0, &d, 10, "a", 0, 0);
        taker_fails(&t, cases[i].code);
        assert_int_equal(atomic_load(&s.starts), cases[i].starts);
        world_stop();
        world_clean();
    }
    free(data);
}

static void fill_asks_whether_another_repository_may_have_it(void **state) {
    (void)state;
    const int64_t size = 1 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    taker_expect(&t, data);
    wait_until_held(&d);
    taker_start(&t, 0, &d, size, "b", 0, 0);
    taker_expect(&t, data);
    assert_int_equal(atomic_load(&s.starts), 1);
    assert_int_equal(atomic_load(&s.heads), 1);
    s.refuse = ERR_NOT_FOUND;
    taker_start(&t, 0, &d, size, "c", 0, 0);
    taker_fails(&t, ERR_NOT_FOUND);
    world_end(data);
}

static void post_run(void *arg) {
    sem_post(arg);
}

/* What has been posted to the loops so far, and what that has posted to the fetch loop, has been run. */
static void let_run(void) {
    sem_t run;
    sem_init(&run, 0, 0);
    for (int i = 0; i < SERVING + 2; i++) {
        loop_call(i < SERVING ? world.serving[i] : fetch_loop, post_run, &run);
        sem_wait(&run);
    }
}

static void fill_asks_once_whether_a_repository_may_have_it_however_many_wait(void **state) {
    (void)state;
    const int64_t size = 1 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    world_start(0);
    struct taker t, many[2 * SERVING];
    taker_start(&t, 0, &d, size, "a", 0, 0);
    taker_expect(&t, data);
    wait_until_held(&d);
    atomic_store(&s.head_gate, 1);
    for (int i = 0; i < (int)ARRAY_LEN(many); i++)
        taker_start(&many[i], i, &d, size, "b", 0, 0);
    let_run();
    taker_look(&many[0], taker_leave_run, false); /* the others wait on */
    atomic_store(&s.head_gate, 0);
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        assert_int_equal(taker_wait(&many[i]), i == 0 ? ERR_CANCELLED : 0);
        if (i > 0) assert_memory_equal(many[i].got, data, (size_t)size);
        free(many[i].got);
    }
    assert_int_equal(atomic_load(&s.heads), 1);
    assert_int_equal(atomic_load(&s.starts), 1);
    world_end(data);
}

/* What was asked for and not found leaves nothing behind. */
static void fill_makes_a_scope_only_for_content_that_was_found(void **state) {
    (void)state;
    const int64_t size = 1 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    world_start(0);
    struct taker t;
    for (int held = 0; held < 2; held++) {
        s.refuse = ERR_NOT_FOUND;
        taker_start(&t, 0, &d, size, "nothing", 0, 0);
        taker_fails(&t, ERR_NOT_FOUND);
        s.refuse = 0;
        taker_start(&t, 0, &d, size, held ? "claims" : "has", 0, 0);
        taker_expect(&t, data);
        wait_until_held(&d);
    }
    assert_true(store_scope_find(world.store, "up/has") && store_scope_find(world.store, "up/claims"));
    assert_int_equal(store_scope_find(world.store, "up/nothing"), 0);
    world_end(data);
}

/* The store takes a blob in after all readers have it. Whoever is granted it at that moment keeps it, too. */
static void fill_gives_a_scope_to_who_comes_while_the_store_takes_it_in(void **state) {
    (void)state;
    const int64_t size = 2 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    struct blob_info info;
    struct taker first, second;
    world_start(0);
    atomic_store(&s.gate, 1 * MB);
    taker_start(&first, 0, &d, size, "first", 0, 0);
    while (atomic_load(&s.sent) < 1 * MB)
        usleep(200);
    world_shut_pool();
    atomic_store(&s.gate, INT64_MAX);
    taker_expect(&first, data);
    taker_start(&second, 0, &d, size, "second", 0, 0);
    taker_expect(&second, data);
    assert_false(store_lookup(world.store, &d, &info));
    world_open_pool();
    wait_until_held(&d);
    for (int i = 0; i < 10000 && !store_lookup_in(world.store, &d, store_scope_find(world.store, "up/second"), &info);
         i++)
        usleep(1000);
    assert_true(store_lookup_in(world.store, &d, store_scope_find(world.store, "up/second"), &info));
    world_end(data);
}

/* When no more scopes can be remembered, whoever is in none of those asks his own source, each time. */
static void fill_asks_the_source_for_everybody_when_scopes_are_used_up(void **state) {
    (void)state;
    const int64_t size = 1 * MB;
    struct digest d, e;
    unsigned char *data = random_data(size, &d), *other = random_data(size + 1, &e);
    struct script s, o;
    script_init(&s, "one", data, size);
    world = (typeof(world)){.sources = {&s}, .n_sources = 1, .advise_size = -1, .scopes_max = 1};
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    taker_expect(&t, data);
    wait_until_held(&d);
    wait_until_over(); /* until then the fill itself remembers who has it */
    for (int i = 1; i <= 2; i++) {
        taker_start(&t, 0, &d, size, "b", 0, 0);
        taker_expect(&t, data);
        assert_int_equal(atomic_load(&s.heads), i);
    }
    assert_int_equal(store_scope_find(world.store, "up/b"), 0);
    s.refuse = ERR_NOT_FOUND;
    taker_start(&t, 0, &d, size, "b", 0, 0);
    taker_fails(&t, ERR_NOT_FOUND);
    taker_start(&t, 0, &d, size, "a", 0, 0);
    taker_expect(&t, data);
    /* What is found meanwhile is in no scope at all. */
    script_init(&o, "one", other, size + 1);
    world.sources[0] = &o;
    taker_start(&t, 0, &e, size + 1, "c", 0, 0);
    taker_expect(&t, other);
    wait_until_held(&e);
    wait_until_over();
    o.refuse = ERR_NOT_FOUND;
    for (int i = 0; i < 2; i++) {
        taker_start(&t, 0, &e, size + 1, i ? "d" : "c", 0, 0);
        taker_fails(&t, ERR_NOT_FOUND);
    }
    world_end(data);
    free(other);
}

/* All of a blob is in a part file that another repository's pull has left. */
static void fill_asks_its_own_source_before_it_serves_a_whole_part_file(void **state) {
    (void)state;
    const int64_t size = 6 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    world.advise_size = size;
    leave_part(data, size, &d);
    s.refuse = ERR_NOT_FOUND;
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "b", 0, 0);
    taker_fails(&t, ERR_NOT_FOUND);
    s.refuse = 0;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    taker_expect(&t, data);
    world_end(data);
}

/* Nobody begins to wait behind a source that has failed, though the one before it had agreed: its word is due again. */
static void fill_sends_no_head_before_a_source_has_agreed(void **state) {
    (void)state;
    const int64_t size = 6 * MB;
    struct digest d;
    unsigned char *data = random_data(size, &d);
    struct script a, b;
    script_init(&a, "a", data, size);
    script_init(&b, "b", data, size);
    a.cut_at = 2 * MB;
    atomic_store(&b.head_gate, 1);
    world = (typeof(world)){.sources = {&a, &b}, .n_sources = 2, .advise_size = size, .claimed = true};
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    while (atomic_load(&b.starts) == 0)
        sched_yield();
    struct taker_look seen = taker_look(&t, taker_look_run, false);
    assert_int_equal(seen.state, FILL_STARTING);
    assert_string_equal(seen.trouble, "a: scripted");
    atomic_store(&b.head_gate, 0);
    taker_expect(&t, data);
    world_end(data);
}

/* The source is slow to answer, its client has gone and will be back. */
static void fill_goes_on_for_a_reader_that_wants_it_later(void **state) {
    (void)state;
    const int64_t size = 1 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "slow", size, &d);
    atomic_store(&s.head_gate, 1);
    world_start(0);
    struct taker t;
    taker_start(&t, 0, &d, size, "a", 0, 0);
    while (atomic_load(&s.starts) == 0)
        sched_yield();
    taker_look(&t, taker_leave_run, true);
    free(t.got);
    /* Longer than a fill stays without readers: the other one, without that wish, is over by then. */
    struct digest other;
    unsigned char *more = random_data(size + 1, &other);
    taker_start(&t, 0, &other, size + 1, "a", 0, 0);
    while (atomic_load(&s.starts) == 1)
        sched_yield();
    taker_look(&t, taker_leave_run, false);
    free(t.got);
    struct fill_stats stats;
    do {
        sched_yield();
        fill_engine_stats(world.engine, &stats);
    } while (stats.running > 1);
    atomic_store(&s.head_gate, 0);
    wait_until_held(&d);
    world_end(data);
    free(more);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fill_keeps_what_a_cut_source_sent_and_goes_on_from_there),
        cmocka_unit_test(fill_takes_back_only_the_piece_the_catalogue_disproves),
        cmocka_unit_test(fill_goes_on_when_the_catalogue_is_wrong),
        cmocka_unit_test(fill_fetches_a_far_range_aside),
        cmocka_unit_test(fill_says_who_sent_a_wrong_piece_aside),
        cmocka_unit_test(fill_gives_another_source_the_stretch_of_one_that_stalls),
        cmocka_unit_test(fill_gives_another_source_the_stretch_of_one_that_sends_wrong_bytes),
        cmocka_unit_test(fill_gives_another_source_the_stretch_of_one_that_vanishes),
        cmocka_unit_test(fill_leaves_it_to_the_main_fetch_when_pieces_aside_are_never_right),
        cmocka_unit_test(fill_fails_with_not_found_when_every_source_says_so),
        cmocka_unit_test(fill_does_not_retry_after_a_definite_error),
        cmocka_unit_test(fill_asks_whether_another_repository_may_have_it),
        cmocka_unit_test(fill_asks_once_whether_a_repository_may_have_it_however_many_wait),
        cmocka_unit_test(fill_makes_a_scope_only_for_content_that_was_found),
        cmocka_unit_test(fill_gives_a_scope_to_who_comes_while_the_store_takes_it_in),
        cmocka_unit_test(fill_asks_the_source_for_everybody_when_scopes_are_used_up),
        cmocka_unit_test(fill_asks_its_own_source_before_it_serves_a_whole_part_file),
        cmocka_unit_test(fill_sends_no_head_before_a_source_has_agreed),
        cmocka_unit_test(fill_goes_on_for_a_reader_that_wants_it_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
