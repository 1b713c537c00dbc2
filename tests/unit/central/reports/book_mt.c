/* Reports on their way into central's book: while it still reads what edges held, when it stops meanwhile, when the file
 * turns out to be damaged, and of several edges at once beside questions. */
#include "central/reports/book.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/core/alloc.h"
#include "common/core/log.h"
#include "tests/unit/support/book_read.h"
#include "tests/unit/support/folder.h"
#include "tests/unit/support/nth_digest.h"

static struct holdings *held;
static struct report_book *book;
static struct loop *loop;
static unsigned waiting; /* reports that are not done */
static char dir[64], path[128];

/* The reader asks of each edge whether it was removed: there, at edge-1, a test holds it. */
static sem_t reader_is_there, reader_may_go;

static bool hold_reader(const char *edge, void *arg) {
    (void)arg;
    if (strcmp(edge, "edge-1") != 0) return false;
    sem_post(&reader_is_there);
    sem_wait(&reader_may_go);
    return false;
}

static bool is_gone(const char *edge, void *arg) {
    (void)edge, (void)arg;
    return false;
}

static void start(bool (*gone)(const char *edge, void *arg)) {
    struct error err = {0};
    held = holdings_new(100000);
    assert_int_equal(report_book_open(&book, path, held, 1000, gone, NULL, &err), 0);
    if (gone == hold_reader) sem_wait(&reader_is_there);
}

static void stop(void) {
    report_book_close(book);
    holdings_free(held);
}

static void put(struct wire_digests *to, uint32_t n) {
    struct digest d = nth_digest(n);
    to->bytes = xrealloc(to->bytes, to->n + 1, NUMBERED_DIGEST);
    memcpy(to->bytes + NUMBERED_DIGEST * to->n++, d.bytes, NUMBERED_DIGEST);
}

static void on_done(struct book_entry *e) {
    if (--waiting == 0) loop_stop(e->loop);
}

static struct book_entry report_of(const char *edge) {
    struct book_entry e = {.loop = loop, .done = on_done};
    snprintf(e.edge, sizeof(e.edge), "%s", edge);
    snprintf(e.site, sizeof(e.site), "site");
    e.report.holdings = xcalloc(1, sizeof(*e.report.holdings));
    return e;
}

static void with_pulls(struct book_entry *e, uint64_t sequence, uint64_t count) {
    struct wire_pulls *w = e->report.pulls = xcalloc(1, sizeof(*w));
    memset(w->epoch, 7, sizeof(w->epoch));
    w->sequence = sequence;
    w->counts = xcalloc(1, sizeof(*w->counts));
    w->n = 1;
    snprintf(w->counts[0].repository, sizeof(w->counts[0].repository), "docker.io/library/app");
    snprintf(w->counts[0].tag, sizeof(w->counts[0].tag), "v1");
    w->counts[0].count = count;
}

/* The digest that central should have then: of the blobs from first to last. */
static void with_digest(struct book_entry *e, uint32_t first, uint32_t last) {
    struct set_digest sum = {0};
    for (uint32_t n = first; n <= last; n++) {
        struct digest d = nth_digest(n);
        const struct set_digest element = holding_element(d.bytes);
        set_digest_add(&sum, &element);
    }
    set_digest_put(&sum, e->report.holdings->digest);
}

/* True: it waits. */
static bool tell(struct book_entry *e) {
    bool waits = !report_book_take(book, e);
    waiting += waits;
    return waits;
}

static void await_all(void) {
    if (waiting > 0) loop_run(loop);
}

static void count_holder(const struct holder *e, const bool *has, void *arg) {
    (void)e, (void)has;
    ++*(unsigned *)arg;
}

static int ask(uint32_t n, unsigned *holders) {
    struct digest d = nth_digest(n);
    *holders = 0;
    return holdings_each(held, &d, 1, count_holder, holders);
}

static void assert_held_from_to(uint32_t first, uint32_t last) {
    for (uint32_t n = 0; n <= last + 5; n++) {
        unsigned holders;
        assert_int_equal(ask(n, &holders), 0);
        assert_int_equal(holders, n >= first && n <= last);
    }
    assert_int_equal(holdings_count(held, holdings_find(held, "edge-1")), last - first + 1);
}

/* What edge-1 holds, 1 to 3, and five pulls. */
static void fill(void) {
    struct book_entry e = report_of("edge-1");
    for (uint32_t n = 1; n <= 3; n++)
        put(&e.report.holdings->gained, n);
    with_pulls(&e, 1, 5);
    start(is_gone);
    tell(&e);
    await_all();
    assert_int_equal(e.code, 0);
    stop();
}

static void run_sql(const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static int set_up(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    snprintf(dir, sizeof(dir), "/tmp/book-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/reports.db", dir);
    sem_init(&reader_is_there, 0, 0);
    sem_init(&reader_may_go, 0, 0);
    loop = loop_new("test");
    waiting = 0;
    fill();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    loop_free(loop);
    sem_destroy(&reader_is_there);
    sem_destroy(&reader_may_go);
    return folder_remove(dir);
}

static void what_edges_hold_is_not_answered_before_it_is_read(void **state) {
    (void)state;
    unsigned holders;
    start(hold_reader);
    assert_int_equal(holdings_state(held), ERR_BUSY);
    assert_int_equal(ask(1, &holders), ERR_BUSY);
    assert_int_equal(holders, 0);
    assert_int_equal(report_book_pulls(book), 5);
    sem_post(&reader_may_go);
    book_until_read(book, loop);
    assert_int_equal(holdings_state(held), 0);
    assert_held_from_to(1, 3);
    stop();
}

static struct book_entry later_report(void) {
    struct book_entry e = report_of("edge-1");
    put(&e.report.holdings->gained, 1);
    put(&e.report.holdings->gained, 4);
    with_pulls(&e, 2, 7);
    with_digest(&e, 1, 4);
    return e;
}

static void of_reports_that_come_meanwhile_nothing_is_lost_or_doubled(void **state) {
    (void)state;
    struct book_entry first = report_of("edge-1"), meanwhile = later_report(), digest = report_of("edge-1");
    put(&first.report.holdings->lost, 1);
    put(&first.report.holdings->gained, 4);
    with_pulls(&first, 1, 5); /* told again: its answer was lost */
    with_digest(&digest, 1, 3);
    start(hold_reader);
    assert_true(tell(&first)); /* a first batch waits */
    assert_true(!tell(&meanwhile) && !tell(&digest));
    assert_true(meanwhile.code == 0 && meanwhile.answer.pulls_taken == 1); /* not yet 2 */
    assert_int_equal(meanwhile.answer.holdings, WIRE_HOLDINGS_NOT_TAKEN);
    assert_true(digest.code == 0 && digest.answer.holdings == WIRE_HOLDINGS_NOT_TAKEN);
    sem_post(&reader_may_go);
    await_all();
    assert_true(first.code == 0 && first.answer.pulls_taken == 1);
    assert_held_from_to(2, 4);
    assert_int_equal(report_book_pulls(book), 5);
    for (unsigned times = 0; times < 2; times++) {
        struct book_entry again = later_report();
        tell(&again);
        await_all();
        assert_true(again.code == 0 && again.answer.pulls_taken == 2);
        assert_int_equal(again.answer.holdings, WIRE_HOLDINGS_EQUAL);
    }
    for (unsigned life = 0; life < 2; life++) {
        assert_held_from_to(1, 4);
        assert_int_equal(report_book_pulls(book), 12);
        stop();
        start(is_gone);
        book_until_read(book, loop);
    }
    stop();
}

static void *close_book(void *arg) {
    (void)arg;
    report_book_close(book);
    return NULL;
}

/* The reader may come to its end before it sees that it is to stop. */
static void a_stop_meanwhile_tells_each_report_what_came_of_it(void **state) {
    (void)state;
    uint32_t last = 3;
    for (unsigned round = 0; round < 20; round++) {
        pthread_t closer;
        struct book_entry e = report_of("edge-1");
        put(&e.report.holdings->gained, last + 1);
        with_pulls(&e, 1, 5); /* so that it waits */
        start(hold_reader);
        assert_true(tell(&e));
        assert_int_equal(pthread_create(&closer, NULL, close_book, NULL), 0);
        sem_post(&reader_may_go);
        pthread_join(closer, NULL);
        await_all();
        assert_true(e.code == 0 || e.code == -ECANCELED);
        if (e.code == 0) last++;
        holdings_free(held);
        start(is_gone);
        book_until_read(book, loop);
        assert_held_from_to(1, last);
        stop();
    }
}

static void a_file_that_proves_damaged_meanwhile_is_put_aside_and_the_reports_go_into_a_new_one(void **state) {
    (void)state;
    char aside[160];
    struct book_entry e = report_of("edge-1");
    run_sql("UPDATE held SET numbers = x'00'");
    put(&e.report.holdings->gained, 9);
    with_pulls(&e, 1, 7);
    start(hold_reader);
    assert_true(tell(&e));
    sem_post(&reader_may_go);
    await_all();
    assert_int_equal(e.code, 0);
    snprintf(aside, sizeof(aside), "%s.damaged", path);
    assert_int_equal(access(aside, F_OK), 0);
    for (unsigned life = 0; life < 2; life++) {
        assert_held_from_to(9, 9);
        assert_int_equal(report_book_pulls(book), 7);
        stop();
        start(is_gone);
        book_until_read(book, loop);
    }
    stop();
}

static void where_rows_cannot_be_read_reports_are_answered_and_nothing_is_claimed(void **state) {
    (void)state;
    unsigned holders;
    struct book_entry first = report_of("edge-1"), second = report_of("edge-1");
    run_sql("DROP TABLE held; CREATE TABLE held(other);");
    put(&first.report.holdings->gained, 9);
    with_pulls(&first, 1, 7);
    start(hold_reader);
    assert_true(tell(&first));
    sem_post(&reader_may_go);
    await_all();
    assert_true(first.code == 0 && first.answer.holdings == WIRE_HOLDINGS_NOT_TAKEN);
    assert_int_equal(ask(9, &holders), ERR_INTERNAL);
    assert_false(tell(&second));
    assert_true(second.code == 0 && second.answer.holdings == WIRE_HOLDINGS_NOT_TAKEN);
    stop();
}

/* --- more than the writer takes in time --- */

#define CROWD 300u
#define TOLD 1800u /* blobs in a report, as an edge tells them */

static struct book_entry large_report(unsigned edge) {
    char name[32];
    snprintf(name, sizeof(name), "crowd-%u", edge);
    struct book_entry e = report_of(name);
    struct wire_digests *gained = &e.report.holdings->gained;
    gained->bytes = xcalloc(TOLD, NUMBERED_DIGEST);
    for (uint32_t n = 0; n < TOLD; n++) {
        struct digest d = nth_digest(n);
        memcpy(gained->bytes + NUMBERED_DIGEST * gained->n++, d.bytes, NUMBERED_DIGEST);
    }
    with_digest(&e, 0, TOLD - 1);
    return e;
}

/* Until it is told that the writer may go on, nothing is written. */
static sqlite3 *hold_writer(void) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void what_waits_for_the_writer_is_bounded_and_the_rest_is_told_again(void **state) {
    (void)state;
    static struct book_entry all[CROWD];
    start(is_gone);
    book_until_read(book, loop);
    struct book_entry before = report_of("edge-1"), first_pulls = large_report(CROWD), again;
    sqlite3 *lock = hold_writer();
    unsigned waits = 0, refused = CROWD;
    for (unsigned i = 0; i < CROWD; i++) {
        all[i] = large_report(i);
        if (tell(&all[i]))
            waits++;
        else if (refused == CROWD)
            refused = i;
    }
    assert_in_range(waits, 100, 200); /* 8 MiB */
    assert_true(all[refused].code == 0 && all[refused].answer.holdings == WIRE_HOLDINGS_NOT_TAKEN);
    with_digest(&before, 1, 3);
    assert_false(tell(&before)); /* it says nothing new */
    with_pulls(&first_pulls, 1, 7);
    assert_true(tell(&first_pulls)); /* a first batch is taken, and only that */
    sqlite3_close(lock);
    await_all();
    assert_true(all[0].code == 0 && all[0].answer.holdings == WIRE_HOLDINGS_EQUAL);
    assert_true(first_pulls.answer.pulls_taken == 1 && first_pulls.answer.holdings == WIRE_HOLDINGS_NOT_TAKEN);
    again = large_report(refused);
    assert_true(tell(&again));
    await_all();
    assert_true(again.code == 0 && again.answer.holdings == WIRE_HOLDINGS_EQUAL);
    stop();
}

/* --- several edges at once --- */

#define EDGES 4u
#define REPORTS 60u
#define BLOBS 200u /* that all edges gain and lose; beside them each holds one of its own for good */
#define ASKERS 2u

struct edge {
    unsigned number;
    struct loop *loop;
    uint32_t seed;
    bool holds[BLOBS];
    atomic_bool told; /* central has taken the blob of its own */
    unsigned failures;
};

static struct edge edges[EDGES];
static atomic_bool over;

static void on_answer(struct book_entry *e) {
    loop_stop(e->loop);
}

static uint32_t own_blob(const struct edge *e) {
    return BLOBS + e->number;
}

static struct book_entry report_from(struct edge *e) {
    char name[MEMBER_NAME_MAX];
    snprintf(name, sizeof(name), "edge-%u", e->number);
    struct book_entry entry = report_of(name);
    entry.loop = e->loop;
    entry.done = on_answer;
    return entry;
}

/* What the edge should be known to hold, with the digest of it. */
static void sum_up(const struct edge *e, struct book_entry *entry) {
    struct set_digest sum = {0};
    for (uint32_t n = 0; n <= own_blob(e); n++) {
        if (n < BLOBS ? !e->holds[n] : n != own_blob(e)) continue;
        struct digest d = nth_digest(n);
        const struct set_digest element = holding_element(d.bytes);
        set_digest_add(&sum, &element);
    }
    set_digest_put(&sum, entry->report.holdings->digest);
}

static void change_some(struct edge *e, struct wire_holdings *w) {
    for (uint32_t n = 0; n < BLOBS; n++) {
        e->seed = e->seed * 1664525u + 1013904223u;
        if (e->seed >> 24 > 25) continue;
        e->holds[n] = !e->holds[n];
        put(e->holds[n] ? &w->gained : &w->lost, n);
    }
}

static void *report_often(void *arg) {
    struct edge *e = arg;
    for (unsigned i = 1; i <= REPORTS; i++) {
        struct book_entry entry = report_from(e);
        change_some(e, entry.report.holdings);
        if (i == 1) put(&entry.report.holdings->gained, own_blob(e));
        sum_up(e, &entry);
        with_pulls(&entry, i, 1);
        if (!report_book_take(book, &entry)) loop_run(e->loop);
        e->failures += entry.code != 0 || entry.answer.holdings != WIRE_HOLDINGS_EQUAL || entry.answer.pulls_taken != i;
        atomic_store(&e->told, true);
    }
    return NULL;
}

static unsigned ask_once(const struct edge *e) {
    const char *site = "site";
    const struct holder *who[EDGES];
    struct holdings_stats stats;
    json_t *doc = NULL;
    unsigned holders = 0;
    bool told = atomic_load(&e->told);
    struct digest d = nth_digest(own_blob(e));
    unsigned failures = report_book_pulls_json(book, NULL, 10, &doc) < 0;
    json_decref(doc);
    holdings_stats(held, &stats);
    if (!told) return failures;
    failures += holdings_each(held, &d, 1, count_holder, &holders) != 0 || holders != 1;
    failures += holdings_at_sites(held, &d, &site, 1, who, EDGES) != 1;
    failures += stats.blobs < 1 || report_book_pulls(book) < 1;
    return failures;
}

static void *ask_often(void *arg) {
    unsigned *failures = arg;
    for (unsigned i = 0; !atomic_load(&over); i++)
        *failures += ask_once(&edges[i % EDGES]);
    return NULL;
}

static void assert_all_known(void) {
    for (unsigned i = 0; i < EDGES; i++) {
        struct book_entry entry = report_from(&edges[i]);
        sum_up(&edges[i], &entry);
        if (!report_book_take(book, &entry)) loop_run(edges[i].loop);
        assert_int_equal(entry.answer.holdings, WIRE_HOLDINGS_EQUAL);
    }
    assert_int_equal(report_book_pulls(book), 5 + EDGES * REPORTS);
}

static void edges_report_at_once_beside_questions_and_all_is_kept(void **state) {
    (void)state;
    pthread_t reporters[EDGES], askers[ASKERS];
    unsigned failures[ASKERS] = {0};
    run_sql("DELETE FROM held; DELETE FROM pulls_taken");
    start(is_gone); /* the first reports come while it reads */
    atomic_store(&over, false);
    for (unsigned i = 0; i < EDGES; i++) {
        edges[i] = (struct edge){.number = i, .loop = loop_new("edge"), .seed = i + 1};
        assert_int_equal(pthread_create(&reporters[i], NULL, report_often, &edges[i]), 0);
    }
    for (unsigned i = 0; i < ASKERS; i++)
        assert_int_equal(pthread_create(&askers[i], NULL, ask_often, &failures[i]), 0);
    for (unsigned i = 0; i < EDGES; i++)
        pthread_join(reporters[i], NULL);
    atomic_store(&over, true);
    for (unsigned i = 0; i < ASKERS; i++)
        pthread_join(askers[i], NULL);
    for (unsigned i = 0; i < EDGES; i++)
        assert_int_equal(edges[i].failures, 0);
    for (unsigned i = 0; i < ASKERS; i++)
        assert_int_equal(failures[i], 0);
    assert_all_known();
    stop();
    start(is_gone);
    book_until_read(book, loop);
    assert_all_known();
    stop();
    for (unsigned i = 0; i < EDGES; i++)
        loop_free(edges[i].loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_edges_hold_is_not_answered_before_it_is_read),
        TEST(of_reports_that_come_meanwhile_nothing_is_lost_or_doubled),
        TEST(a_stop_meanwhile_tells_each_report_what_came_of_it),
        TEST(a_file_that_proves_damaged_meanwhile_is_put_aside_and_the_reports_go_into_a_new_one),
        TEST(where_rows_cannot_be_read_reports_are_answered_and_nothing_is_claimed),
        TEST(what_waits_for_the_writer_is_bounded_and_the_rest_is_told_again),
        TEST(edges_report_at_once_beside_questions_and_all_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
