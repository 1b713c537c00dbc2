/* Places are shared among callers, whatever one of them asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/access/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SMALL, BLOB };

static unsigned order; /* of the places given */

struct asker {
    unsigned nth; /* its place was the nth that was given; 0: it has none yet */
    struct share_entry e;
};

static void placed(struct share_entry *e, void *arg) {
    (void)arg;
    container_of(e, struct asker, e)->nth = ++order;
}

static struct share *make(unsigned places, unsigned queue_of_one, unsigned queue) {
    order = 0;
    return share_new(
        &(struct share_config){.places = places, .queue_of_one = queue_of_one, .queue = queue, .placed = placed});
}

static struct caller numbered(unsigned n) {
    struct ip ip;
    char text[IP_TEXT_MAX];
    struct caller c;
    snprintf(text, sizeof(text), "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
    assert_true(ip_parse(&ip, text, strlen(text)));
    caller_set(&c, CALLER_CLIENT, &ip);
    return c;
}

static int enter(struct share *s, struct asker *a, unsigned caller, unsigned kind) {
    struct caller c = numbered(caller);
    return share_enter(s, &a->e, &c, kind, false);
}

/* A client of a node. */
static struct caller client_of(unsigned node, uint32_t client) {
    struct caller c = numbered(node);
    c.kind = CALLER_NODE;
    c.client = client;
    return c;
}

static int enter_for(struct share *s, struct asker *a, unsigned node, uint32_t client) {
    struct caller c = client_of(node, client);
    return share_enter(s, &a->e, &c, BLOB, false);
}

static unsigned count_placed(const struct asker *a, size_t n) {
    unsigned have = 0;
    for (size_t i = 0; i < n; i++)
        have += a[i].e.has_place;
    return have;
}

static void leave_all(struct share *s, struct asker *a, size_t n) {
    for (size_t i = 0; i < n; i++)
        share_leave(s, &a[i].e);
}

static struct share_stats stats_of(const struct share *s) {
    struct share_stats st;
    share_stats(s, &st);
    return st;
}

static void one_caller_leaves_a_place_for_the_next(void **state) {
    (void)state;
    struct share *s = make(16, 100, 1000);
    struct asker greedy[60] = {0}, other = {0}, third = {0};
    for (size_t i = 0; i < 60; i++)
        assert_int_equal(enter(s, &greedy[i], 1, BLOB), 0);
    assert_int_equal(count_placed(greedy, 60), 14); /* all but an eighth */
    assert_int_equal(enter(s, &other, 2, BLOB), 0);
    assert_int_equal(enter(s, &third, 3, BLOB), 0);
    assert_true(other.e.has_place && third.e.has_place);
    share_leave(s, &other.e);
    share_leave(s, &third.e);
    leave_all(s, greedy, 60);
    assert_int_equal(stats_of(s).callers, 0);
    share_free(s);
}

static void a_share_with_few_places_gives_all_of_them(void **state) {
    (void)state;
    struct share *s = make(4, 100, 1000);
    struct asker a[6] = {0};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(enter(s, &a[i], 1, BLOB), 0);
    assert_int_equal(count_placed(a, 6), 4);
    leave_all(s, a, 6);
    share_free(s);
}

static void a_caller_with_less_than_an_equal_part_comes_first(void **state) {
    (void)state;
    struct share *s = make(8, 100, 1000);
    struct asker greedy[50] = {0}, fair[4] = {0};
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(enter(s, &greedy[i], 1, BLOB), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(enter(s, &fair[i], 2, BLOB), 0);
    assert_int_equal(count_placed(fair, 4), 1);
    for (size_t i = 0; i < 4; i++)
        share_leave(s, &greedy[i].e); /* those that began first are over */
    assert_int_equal(count_placed(fair, 4), 3);
    assert_int_equal(count_placed(greedy, 50), 4);
    leave_all(s, greedy, 50);
    leave_all(s, fair, 4);
    share_free(s);
}

static void places_go_round_those_that_wait(void **state) {
    (void)state;
    struct share *s = make(1, 100, 1000);
    struct asker first = {0}, a[3] = {0}, b = {0}, c = {0};
    assert_int_equal(enter(s, &first, 9, SMALL), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(enter(s, &a[i], 1, SMALL), 0);
    assert_int_equal(enter(s, &b, 2, SMALL), 0);
    assert_int_equal(enter(s, &c, 3, SMALL), 0);
    share_leave(s, &first.e);
    share_leave(s, &a[0].e);
    share_leave(s, &b.e);
    share_leave(s, &c.e);
    share_leave(s, &a[1].e);
    unsigned got[] = {a[0].nth, b.nth, c.nth, a[1].nth, a[2].nth};
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(got[i], i + 2);
    share_leave(s, &a[2].e);
    share_free(s);
}

static void neither_kind_keeps_the_other_out(void **state) {
    (void)state;
    order = 0;
    struct share *s = share_new(&(struct share_config){.places = 16,
                                                       .kinds = {{.most = 12, .weight = 3}, {.most = 12, .weight = 1}},
                                                       .queue_of_one = 1000,
                                                       .queue = 5000,
                                                       .placed = placed});
    struct asker small[200] = {0}, blobs[8] = {0};
    for (size_t i = 0; i < 200; i++)
        assert_int_equal(enter(s, &small[i], 1, SMALL), 0);
    assert_int_equal(count_placed(small, 200), 11);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(enter(s, &blobs[i], 1, BLOB), 0); /* the same caller */
    for (size_t i = 0; i < 100; i++)
        share_leave(s, &small[i].e);
    assert_in_range(count_placed(blobs, 8), 3, 5); /* a quarter */
    leave_all(s, small, 200);
    leave_all(s, blobs, 8);
    share_free(s);
}

static void a_full_queue_refuses_its_own_caller_alone(void **state) {
    (void)state;
    struct share *s = make(1, 4, 100);
    struct asker a[10] = {0}, b = {0}, must = {0};
    int refused = 0;
    for (size_t i = 0; i < 10; i++)
        refused += enter(s, &a[i], 1, SMALL) == ERR_BUSY;
    assert_int_equal(refused, 5); /* one has the place, four wait */
    assert_false(a[9].e.waits || a[9].e.has_place);
    assert_int_equal(enter(s, &b, 2, SMALL), 0);
    struct caller c = numbered(1);
    assert_int_equal(share_enter(s, &must.e, &c, SMALL, true), 0);
    assert_int_equal(stats_of(s).refused, 5);
    assert_int_equal(stats_of(s).waiting, 6);
    leave_all(s, a, 10);
    share_leave(s, &b.e);
    share_leave(s, &must.e);
    share_free(s);
}

static void all_queues_together_are_bounded_and_keep_room_for_new_callers(void **state) {
    (void)state;
    struct share *s = make(1, 1000, 64);
    static struct asker a[100], others[40];
    memset(a, 0, sizeof(a));
    memset(others, 0, sizeof(others));
    for (size_t i = 0; i < 100; i++) {
        int r = enter(s, &a[i], 1, SMALL);
        assert_true(r == 0 || r == ERR_BUSY);
    }
    assert_int_equal(stats_of(s).waiting, 32); /* half of the room */
    size_t got = 0;
    for (size_t i = 0; i < 40; i++)
        got += enter(s, &others[i], 2 + (unsigned)i, SMALL) == 0;
    assert_int_equal(got, 32);
    assert_int_equal(stats_of(s).waiting, 64);
    leave_all(s, a, 100);
    leave_all(s, others, 40);
    assert_int_equal(stats_of(s).callers, 0);
    share_free(s);
}

static void what_goes_on_takes_no_room_from_newcomers(void **state) {
    (void)state;
    struct share *s = make(1, 4, 8);
    struct asker first = {0}, own = {0}, other = {0};
    static struct asker begun[50];
    memset(begun, 0, sizeof(begun));
    struct caller c = numbered(1);
    assert_int_equal(enter(s, &first, 1, BLOB), 0);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(share_enter(s, &begun[i].e, &c, BLOB, true), 0);
    assert_int_equal(enter(s, &other, 2, BLOB), 0); /* the caller who is kept waiting is not kept out */
    assert_int_equal(enter(s, &own, 1, BLOB), 0);   /* nor is a new entry of the same */
    assert_int_equal(stats_of(s).waiting, 52);
    share_leave(s, &first.e);
    assert_true(other.e.has_place || begun[0].e.has_place);
    leave_all(s, begun, 50);
    share_leave(s, &own.e);
    share_leave(s, &other.e);
    assert_int_equal(stats_of(s).callers, 0);
    share_free(s);
}

static void an_entry_that_a_second_caller_wants_moves_to_the_shorter_queue(void **state) {
    (void)state;
    struct share *s = make(1, 100, 1000);
    struct asker a[20] = {0};
    struct caller other = numbered(2);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(enter(s, &a[i], 1, SMALL), 0);
    share_move(s, &a[19].e, &other);
    share_move(s, &a[0].e, &other); /* has its place: nothing */
    share_leave(s, &a[0].e);
    share_leave(s, &a[1].e);
    assert_true(a[19].e.has_place || a[2].e.has_place);
    share_leave(s, &a[2].e);
    assert_true(a[19].nth > 0 && a[19].nth <= 3);
    leave_all(s, a, 20);
    share_free(s);
}

static void a_caller_takes_fewer_places_while_others_ask(void **state) {
    (void)state;
    order = 0;
    struct share *s = share_new(&(struct share_config){
        .places = 64, .kinds = {{.most_beside_others = 8}}, .queue_of_one = 100, .queue = 1000, .placed = placed});
    struct asker greedy[40] = {0}, other = {0}, blobs[10] = {0};
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(enter(s, &greedy[i], 1, SMALL), 0);
    assert_int_equal(count_placed(greedy, 20), 20); /* alone */
    assert_int_equal(enter(s, &other, 2, SMALL), 0);
    assert_true(other.e.has_place);
    for (size_t i = 20; i < 40; i++)
        assert_int_equal(enter(s, &greedy[i], 1, SMALL), 0);
    assert_int_equal(count_placed(greedy, 40), 20);
    for (size_t i = 0; i < 13; i++)
        share_leave(s, &greedy[i].e);
    assert_int_equal(count_placed(greedy, 40), 8);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(enter(s, &blobs[i], 1, BLOB), 0);
    assert_int_equal(count_placed(blobs, 10), 10); /* the other kind has no such bound */
    leave_all(s, greedy, 40);
    leave_all(s, blobs, 10);
    share_leave(s, &other.e);
    assert_int_equal(stats_of(s).callers + stats_of(s).waiting + stats_of(s).taken, 0);
    share_free(s);
}

static void one_caller_may_be_bound_to_some_of_the_places(void **state) {
    (void)state;
    order = 0;
    struct share *s = share_new(&(struct share_config){
        .places = 2, .kinds = {{.most_of_one = 1}}, .queue_of_one = 100, .queue = 1000, .placed = placed});
    struct asker greedy[5] = {0}, other = {0};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(enter(s, &greedy[i], 1, SMALL), 0);
    assert_int_equal(count_placed(greedy, 5), 1);
    assert_int_equal(enter(s, &other, 2, SMALL), 0);
    assert_true(other.e.has_place);
    share_leave(s, &greedy[0].e);
    assert_int_equal(count_placed(greedy, 5), 1);
    leave_all(s, greedy, 5);
    share_leave(s, &other.e);
    assert_int_equal(stats_of(s).callers + stats_of(s).waiting + stats_of(s).taken, 0);
    share_free(s);
}

/* --- clients of nodes --- */

static void a_client_leaves_places_for_others_of_its_node_and_for_other_nodes(void **state) {
    (void)state;
    struct share *s = make(16, 100, 1000);
    struct asker greedy[60] = {0}, others[10] = {0}, elsewhere[2] = {0};
    for (size_t i = 0; i < 60; i++)
        assert_int_equal(enter_for(s, &greedy[i], 1, 7), 0);
    assert_int_equal(count_placed(greedy, 60), 12); /* all but a quarter */
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(enter_for(s, &others[i], 1, 10 + (uint32_t)i), 0);
    assert_int_equal(count_placed(others, 10), 2); /* all but an eighth */
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(enter_for(s, &elsewhere[i], 2 + (unsigned)i, 1), 0);
        assert_true(elsewhere[i].e.has_place);
    }
    assert_int_equal(stats_of(s).callers, 13);
    leave_all(s, greedy, 60);
    leave_all(s, others, 10);
    leave_all(s, elsewhere, 2);
    assert_int_equal(stats_of(s).callers, 0);
    share_free(s);
}

static void places_go_round_nodes_first_and_then_round_their_clients(void **state) {
    (void)state;
    struct share *s = make(1, 100, 1000);
    struct asker first = {0}, crowd[3] = {0}, more = {0}, alone[2] = {0};
    assert_int_equal(enter_for(s, &first, 9, 1), 0);
    assert_int_equal(enter_for(s, &crowd[0], 1, 1), 0);
    assert_int_equal(enter_for(s, &more, 1, 1), 0);
    assert_int_equal(enter_for(s, &crowd[1], 1, 2), 0);
    assert_int_equal(enter_for(s, &crowd[2], 1, 3), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(enter_for(s, &alone[i], 2, 1), 0);
    struct asker *expected[] = {&first, &crowd[0], &alone[0], &crowd[1], &alone[1], &crowd[2], &more};
    for (unsigned i = 0; i < ARRAY_LEN(expected); i++) {
        assert_int_equal(expected[i]->nth, i + 1);
        share_leave(s, &expected[i]->e);
    }
    assert_int_equal(stats_of(s).callers, 0);
    share_free(s);
}

static void a_client_leaves_room_to_wait_for_others_of_its_node_and_for_other_nodes(void **state) {
    (void)state;
    struct share *s = make(1, 1000, 64);
    static struct asker greedy[100], others[40], elsewhere[40];
    memset(greedy, 0, sizeof(greedy));
    memset(others, 0, sizeof(others));
    memset(elsewhere, 0, sizeof(elsewhere));
    unsigned waiting[3] = {0};
    for (size_t i = 0; i < 100; i++)
        waiting[0] += enter_for(s, &greedy[i], 1, 7) == 0;
    for (size_t i = 0; i < 40; i++)
        waiting[1] += enter_for(s, &others[i], 1, 10 + (uint32_t)i) == 0;
    for (size_t i = 0; i < 40; i++)
        waiting[2] += enter_for(s, &elsewhere[i], 2 + (unsigned)i, 1) == 0;
    assert_int_equal(waiting[0],
                     1 + 22);         /* the place, and a third of the room: as much as is left of the node's half */
    assert_int_equal(waiting[1], 10); /* of the node's half all is taken now */
    assert_int_equal(waiting[2], 32);
    leave_all(s, greedy, 100);
    leave_all(s, others, 40);
    leave_all(s, elsewhere, 40);
    assert_int_equal(stats_of(s).callers + stats_of(s).waiting, 0);
    share_free(s);
}

/* --- giving way --- */

static struct share *sharing;
static unsigned gone;
static int64_t slowness;

/* In the order they came the later ones are slower. */
static int64_t speed(const struct share_entry *e, void *arg) {
    (void)arg;
    return 1000000 - (int64_t)container_of(e, struct asker, e)->nth;
}

static int64_t nearly_over(const struct share_entry *e, void *arg) {
    (void)e;
    (void)arg;
    slowness++;
    return -1;
}

static struct caller whose;
static void goes_on_later(struct share_entry *e, void *arg) {
    (void)arg;
    struct caller c = whose;
    gone++;
    share_leave(sharing, e);
    assert_int_equal(share_enter(sharing, e, &c, BLOB, true), 0);
}

static void flows_at_once(struct share_entry *e, void *arg) {
    placed(e, arg);
    share_flows(sharing, e);
}

static struct share *make_giving(struct loop *l, int64_t later_turn_ms,
                                 int64_t (*how_fast)(const struct share_entry *, void *)) {
    order = gone = 0;
    slowness = 0;
    whose = numbered(1);
    sharing = share_new(&(struct share_config){.places = 4,
                                               .queue_of_one = 100,
                                               .queue = 1000,
                                               .placed = flows_at_once,
                                               .loop = l,
                                               .later_turn_ms = later_turn_ms,
                                               .speed = how_fast,
                                               .give_way = goes_on_later});
    return sharing;
}

/* Looks at it every few milliseconds; gives up after a minute. */
struct wait {
    struct loop *loop;
    struct timer timer;
    bool (*is_so)(void *arg);
    void *arg;
    int n;
};

static void look(void *arg) {
    struct wait *w = arg;
    assert_true(w->n++ < 12000);
    if (w->is_so(w->arg))
        loop_stop(w->loop);
    else
        timer_set(&w->timer, 5);
}

static void run_until(struct loop *l, bool (*is_so)(void *arg), void *arg) {
    struct wait w = {.loop = l, .is_so = is_so, .arg = arg};
    timer_init(&w.timer, l, look, &w);
    timer_set(&w.timer, 0);
    loop_run(l);
    timer_fini(&w.timer);
}

static bool has_had_place(void *arg) {
    return ((struct asker *)arg)->nth > 0;
}

static void bodies_give_way_to_a_newcomer_and_go_on_later(void **state) {
    (void)state;
    struct loop *l = loop_new("share");
    struct share *s = make_giving(l, 600000, speed);
    struct asker slow[12] = {0}, newcomer = {0};
    for (size_t i = 0; i < 12; i++)
        assert_int_equal(enter(s, &slow[i], 1, BLOB), 0);
    assert_int_equal(enter(s, &newcomer, 1, BLOB), 0); /* even of the same caller */
    run_until(l, has_had_place, &newcomer);
    for (size_t i = 0; i < 12; i++)
        assert_true(slow[i].nth > 0); /* all have begun, and those that came first came first */
    assert_int_equal(count_placed(slow, 12), 3);
    assert_int_equal(stats_of(s).gave_way, gone);
    assert_int_equal(gone, 9); /* one for each newcomer, and none twice for the same */
    share_leave(s, &newcomer.e);
    leave_all(s, slow, 12);
    share_free(s);
    loop_free(l);
}

static bool has_had_another_place(void *arg) {
    return ((struct asker *)arg)->e.has_place;
}

static void a_body_that_gave_way_gets_another_turn(void **state) {
    (void)state;
    struct loop *l = loop_new("share");
    struct share *s = make_giving(l, 700, speed);
    struct asker slow[5] = {0};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(enter(s, &slow[i], 1, BLOB), 0);
    run_until(l, has_had_place, &slow[4]);
    assert_true(slow[3].e.waits); /* the slowest has gone */
    run_until(l, has_had_another_place, &slow[3]);
    leave_all(s, slow, 5);
    share_free(s);
    loop_free(l);
}

static bool some_are_free(void *arg) {
    (void)arg;
    return stats_of(sharing).taken == 12;
}

static void bodies_of_several_callers_leave_places_before_anybody_waits(void **state) {
    (void)state;
    struct loop *l = loop_new("share");
    order = gone = 0;
    whose = numbered(1);
    struct share *s = sharing = share_new(&(struct share_config){.places = 16,
                                                                 .queue_of_one = 100,
                                                                 .queue = 1000,
                                                                 .placed = flows_at_once,
                                                                 .loop = l,
                                                                 .later_turn_ms = 600000,
                                                                 .speed = speed,
                                                                 .give_way = goes_on_later});
    struct asker greedy[14] = {0}, second = {0}, third = {0};
    for (size_t i = 0; i < 14; i++)
        assert_int_equal(enter(s, &greedy[i], 1, BLOB), 0);
    assert_int_equal(enter(s, &second, 2, BLOB), 0);
    assert_int_equal(enter(s, &third, 3, BLOB), 0);
    assert_int_equal(stats_of(s).taken, 16);
    run_until(l, some_are_free, NULL);
    assert_int_equal(gone, 4);
    assert_int_equal(count_placed(greedy, 14), 10); /* of the caller that has most, the slowest */
    assert_true(second.e.has_place && third.e.has_place && greedy[0].e.has_place && !greedy[13].e.has_place);
    leave_all(s, greedy, 14);
    share_leave(s, &second.e);
    share_leave(s, &third.e);
    assert_int_equal(stats_of(s).callers + stats_of(s).waiting + stats_of(s).taken, 0);
    share_free(s);
    loop_free(l);
}

static bool were_asked(void *arg) {
    (void)arg;
    return slowness > 20;
}

static void a_body_nearly_complete_or_of_a_caller_with_fewer_places_stays(void **state) {
    (void)state;
    struct loop *l = loop_new("share");
    struct share *s = make_giving(l, 600000, nearly_over);
    struct asker a[5] = {0};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(enter(s, &a[i], 1, BLOB), 0);
    run_until(l, were_asked, NULL);
    assert_true(gone == 0 && a[4].e.waits);
    leave_all(s, a, 5);
    share_free(s);
    s = make_giving(l, 600000, speed);
    struct asker rich[3] = {0}, poor = {0}, more = {0};
    whose = numbered(2);
    assert_int_equal(enter(s, &poor, 1, BLOB), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(enter(s, &rich[i], 2, BLOB), 0);
    assert_int_equal(enter(s, &more, 2, BLOB), 0);
    run_until(l, has_had_place, &more);
    assert_true(poor.e.has_place);
    share_leave(s, &poor.e);
    share_leave(s, &more.e);
    leave_all(s, rich, 3);
    share_free(s);
    loop_free(l);
}

/* Whatever happens, nobody has two places, nothing is lost, and who waits waits for a reason. */
static void thousands_of_callers_come_and_go(void **state) {
    (void)state;
    enum { ASKERS = 6000, PLACES = 24 };
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    struct share *s = make(PLACES, 8, 2000);
    struct asker *a = calloc(ASKERS, sizeof(*a));
    assert_non_null(a);
    for (int step = 0; step < 200000; step++) {
        struct asker *x = &a[(unsigned)rand_r(&seed) % ASKERS];
        if (x->e.of) {
            share_leave(s, &x->e);
        } else {
            unsigned who = rand_r(&seed) % 3 ? (unsigned)rand_r(&seed) % 3000 : 1;
            struct caller c = who % 2 ? numbered(who) : client_of(who % 5, who);
            int r = share_enter(s, &x->e, &c, (unsigned)rand_r(&seed) % 2, false);
            assert_true(r == 0 || r == ERR_BUSY);
            assert_int_equal(r == 0, x->e.waits != x->e.has_place);
        }
        struct share_stats st = stats_of(s);
        assert_true(st.taken <= PLACES && st.waiting <= 2000);
        assert_true(st.waiting == 0 || st.taken > PLACES - PLACES / 4 - 1);
    }
    assert_int_equal(count_placed(a, ASKERS), stats_of(s).taken);
    leave_all(s, a, ASKERS);
    assert_int_equal(stats_of(s).callers + stats_of(s).waiting + stats_of(s).taken, 0);
    share_free(s);
    free(a);
}

static void requests_that_go_on_leave_a_quarter_to_new_ones(void **state) {
    (void)state;
    struct share *s = make(16, 100, 1000);
    struct caller c = numbered(1);
    struct asker begun[40] = {0}, new[2] = {0};
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(share_enter(s, &begun[i].e, &c, BLOB, true), 0);
    assert_int_equal(count_placed(begun, 40), 12);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(enter(s, &new[i], 1, BLOB), 0); /* even of the same caller: at once */
        assert_true(new[i].e.has_place);
    }
    share_leave(s, &new[0].e);
    assert_int_equal(count_placed(begun, 40), 12);
    share_leave(s, &begun[0].e);
    assert_int_equal(count_placed(begun, 40), 12); /* another goes on in its place */
    share_leave(s, &new[1].e);
    leave_all(s, begun, 40);
    assert_int_equal(stats_of(s).callers + stats_of(s).waiting + stats_of(s).taken, 0);
    share_free(s);
}

static void an_ipv6_network_of_64_bits_is_one_caller(void **state) {
    (void)state;
    struct ip a, b, c;
    struct caller x, y;
    char text[CALLER_TEXT_MAX];
    assert_true(ip_parse(&a, "2001:db8:1:2::5", 15) && ip_parse(&b, "2001:db8:1:2:ffff::9", 20) &&
                ip_parse(&c, "2001:db8:1:3::5", 15));
    caller_set(&x, CALLER_CLIENT, &a);
    caller_set(&y, CALLER_CLIENT, &b);
    assert_memory_equal(&x, &y, sizeof(x));
    assert_string_equal(caller_text(&x, text), "2001:db8:1:2::/64");
    caller_set(&y, CALLER_CLIENT, &c);
    assert_memory_not_equal(&x, &y, sizeof(x));
    caller_set(&y, CALLER_NODE, &a);
    assert_memory_not_equal(&x, &y, sizeof(x));
    x = numbered(7);
    assert_string_equal(caller_text(&x, text), "10.0.0.7");
    x = client_of(7, 42);
    assert_string_equal(caller_text(&x, text), "a client of 10.0.0.7");
    assert_int_equal(caller_node(&x).client, 0);
    assert_int_equal(caller_as_client(&(struct caller){0}), 0);
    assert_int_not_equal(caller_as_client(&y), 0);
    assert_string_equal(caller_text(&(struct caller){0}, text), "this node");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_caller_leaves_a_place_for_the_next),
        cmocka_unit_test(a_share_with_few_places_gives_all_of_them),
        cmocka_unit_test(a_caller_with_less_than_an_equal_part_comes_first),
        cmocka_unit_test(places_go_round_those_that_wait),
        cmocka_unit_test(neither_kind_keeps_the_other_out),
        cmocka_unit_test(a_full_queue_refuses_its_own_caller_alone),
        cmocka_unit_test(all_queues_together_are_bounded_and_keep_room_for_new_callers),
        cmocka_unit_test(what_goes_on_takes_no_room_from_newcomers),
        cmocka_unit_test(an_entry_that_a_second_caller_wants_moves_to_the_shorter_queue),
        cmocka_unit_test(a_caller_takes_fewer_places_while_others_ask),
        cmocka_unit_test(one_caller_may_be_bound_to_some_of_the_places),
        cmocka_unit_test(a_client_leaves_places_for_others_of_its_node_and_for_other_nodes),
        cmocka_unit_test(places_go_round_nodes_first_and_then_round_their_clients),
        cmocka_unit_test(a_client_leaves_room_to_wait_for_others_of_its_node_and_for_other_nodes),
        cmocka_unit_test(bodies_of_several_callers_leave_places_before_anybody_waits),
        cmocka_unit_test(bodies_give_way_to_a_newcomer_and_go_on_later),
        cmocka_unit_test(a_body_that_gave_way_gets_another_turn),
        cmocka_unit_test(a_body_nearly_complete_or_of_a_caller_with_fewer_places_stays),
        cmocka_unit_test(thousands_of_callers_come_and_go),
        cmocka_unit_test(requests_that_go_on_leave_a_quarter_to_new_ones),
        cmocka_unit_test(an_ipv6_network_of_64_bits_is_one_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
