/* Whoever gets a complete answer has the right bytes: clients of all sorts on one fill, whose sources lie and break off
 * and whose disk is full. */
#include "tests/unit/common/serve/served.h"

#include <time.h>

#include "common/core/budget.h"

/* --- what is right --- */

/* [start, end) of the blob. A part that nobody could prove may be what the source sent: its lies flip one bit. */
static bool bytes_right(const unsigned char *got, const unsigned char *data, int64_t start, int64_t end, bool exactly) {
    if (memcmp(got, data + start, (size_t)(end - start)) == 0) return true;
    for (int64_t i = 0; !exactly && i < end - start; i++) {
        if (got[i] != data[start + i] && got[i] != (data[start + i] ^ 1)) return false;
    }
    return !exactly;
}

static bool range_right(const char *range, const unsigned char *got, int64_t len, const struct visit *v,
                        const unsigned char *data) {
    long long first, last, size;
    if (!range || sscanf(range, "bytes %lld-%lld/%lld", &first, &last, &size) != 3) return false;
    if (size != v->size || first < 0 || last < first || last >= size || len < last + 1 - first) return false;
    return bytes_right(got, data, first, last + 1, last + 1 - first == size);
}

/* Every part of a multipart answer. */
static bool parts_right(const struct visit *v, const char *type, const unsigned char *data) {
    char mark[128];
    int mark_len = snprintf(mark, sizeof(mark), "--%s", strstr(type, "boundary=") + 9);
    int64_t at = 0;
    for (int parts = 0;; parts++) {
        char *p = (char *)v->body + at, *head_end;
        if (parts > 0) p += 2;
        if (p + mark_len > (char *)v->body + v->got || memcmp(p, mark, (size_t)mark_len) != 0) return false;
        p += mark_len;
        if (memcmp(p, "--\r\n", 4) == 0) return parts > 1;
        head_end = memmem(p, (size_t)((char *)v->body + v->got - p), "\r\n\r\n", 4);
        char *range = head_end ? memmem(p, (size_t)(head_end - p), "Content-Range: ", 15) : NULL;
        long long first, last;
        if (!range || sscanf(range + 15, "bytes %lld-%lld/", &first, &last) != 2) return false;
        at = head_end + 4 - (char *)v->body;
        if (!range_right(range + 15, v->body + at, v->got - at, v, data)) return false;
        at += last + 1 - first;
    }
}

static bool is_right(const struct visit *v, const unsigned char *data) {
    char text[256];
    if (!v->complete || v->status >= 300 || strcmp(v->method, "HEAD") == 0) return true;
    if (v->status == 200) return v->got == v->size && bytes_right(v->body, data, 0, v->size, true);
    if (visit_header(v, "Content-Type", text, sizeof(text)) && strstr(text, "multipart/byteranges"))
        return parts_right(v, text, data);
    return v->status == 206 &&
           range_right(visit_header(v, "Content-Range", text, sizeof(text)), v->body, v->got, v, data);
}

static bool is_whole(const struct visit *v) {
    return v->complete && v->status < 300 && v->got == v->size;
}

/* --- two cases in which a complete answer was wrong --- */

/* When memory holds only the window of a blob, a request that turns out to want what is below it gets that from
 * elsewhere; it used to get zeros. */
static void a_reader_gets_bytes_that_pass_through_has_dropped(void **state) {
    (void)state;
    static const char *const asked[] = {"Range: bytes=41000000-\r\nIf-Range: \"another\"\r\n",
                                        "Range: bytes=41000000-41000099,20000000-20000099\r\n",
                                        "Range: bytes=-100,100-199\r\n", "Range: bytes=-41000000\r\n"};
    const int64_t size = 48 * MB, gate = 38 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "big", size, &d);
    s.gate_first = true;
    atomic_store(&s.gate, gate);
    served_start(8 * MB);
    struct visit first = {0}, late[ARRAY_LEN(asked)] = {0};
    visit_start(&first, &d, size, "");
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        late[i].after = gate;
        visit_start(&late[i], &d, size, asked[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        visit_wait(&late[i]);
    atomic_store(&s.gate, INT64_MAX);
    visit_wait(&first);
    assert_true(is_whole(&first) && is_right(&first, data));
    assert_true(is_whole(&late[0]) && late[0].status == 200);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        if (!late[i].complete || !is_right(&late[i], data)) fail_msg("%s", late[i].headers);
        visit_clear(&late[i]);
    }
    visit_clear(&first);
    served_stop();
    world_clean();
    free(data);
}

static int64_t lie_ahead(struct script_fetch *f, unsigned char *chunk, int64_t n) {
    if (f->ranged && f->at % MB == 0) chunk[0] ^= 1;
    return f->ranged || f->at % PIECE_SIZE != 0 || f->fate[0]++ % 8 == 7 ? n : 0; /* rests where a piece begins */
}

/* What was fetched ahead is proved by nobody; the digest of the main fetch says nothing of it. */
static void a_wrong_piece_fetched_ahead_is_in_no_whole(void **state) {
    (void)state;
    static const char *const asked[] = {"", "Range: bytes=0-\r\n", "Range: bytes=9-,0-8\r\n"};
    const int64_t size = 30 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    s.rule = lie_ahead;
    s.gate_first = true;
    atomic_store(&s.gate, 1 * MB);
    served_start(0);
    struct visit wholes[ARRAY_LEN(asked)] = {0}, part = {.after = 1 * MB};
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        visit_start(&wholes[i], &d, size, asked[i]);
    visit_start(&part, &d, size, "Range: bytes=17825792-17826000\r\n");
    visit_wait(&part);
    assert_true(part.complete && part.status == 206 && is_right(&part, data));
    assert_int_equal(atomic_load(&s.starts), 2);
    atomic_store(&s.gate, INT64_MAX);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        visit_wait(&wholes[i]);
        if (!is_whole(&wholes[i]) || !is_right(&wholes[i], data)) fail_msg("%s", wholes[i].headers);
        visit_clear(&wholes[i]);
    }
    visit_clear(&part);
    served_stop();
    world_clean();
    free(data);
}

/* What is asked for cannot wait for the length, for nothing is kept until that is known. */
static void a_blob_of_unknown_length_is_answered_although_the_disk_is_full(void **state) {
    (void)state;
    const int64_t size = 40 * MB;
    struct digest d;
    struct script s;
    unsigned char *data = one_source(&s, "one", size, &d);
    s.hide_size = true;
    served_start(8 * MB);
    struct visit client = {0}, node = {.by_node = true};
    visit_start(&client, &d, size, "Range: bytes=10000000-\r\n");
    visit_wait(&client);
    assert_true(is_whole(&client) && is_right(&client, data));
    visit_start(&node, &d, size, "");
    visit_wait(&node);
    assert_true(is_whole(&node) && is_right(&node, data));
    visit_clear(&client);
    visit_clear(&node);
    served_stop();
    world_clean();
    free(data);
}

/* --- slow readers of what is passed through --- */

#define QUICK 4
#define SLOW 3

static int64_t left_behind(void) {
    struct fill_stats s;
    fill_engine_stats(world.engine, &s);
    return s.left_behind;
}

/* Some ask for all of it and trickle, and some take it as quickly as they can, which end. */
static void trickle_and_overtake(struct visit slow[SLOW], const char *const asked[SLOW], atomic_bool *go,
                                 const struct digest *d, const unsigned char *data, int64_t size) {
    struct visit quick[QUICK] = {0};
    for (int i = 0; i < SLOW; i++) {
        slow[i].trickles_until = go;
        visit_start(&slow[i], d, size, asked[i]);
    }
    for (int i = 0; i < QUICK; i++)
        visit_start(&quick[i], d, size, "");
    while (atomic_load(&visits_asked) < SLOW + QUICK)
        usleep(200);
    atomic_store(&world.sources[0]->gate, INT64_MAX);
    for (int i = 0; i < QUICK; i++) {
        visit_wait(&quick[i]);
        assert_true(is_whole(&quick[i]) && is_right(&quick[i], data));
        visit_clear(&quick[i]);
    }
}

/* The slow ones hold nobody up, and get it, too: from another download, once the first is over. Several parts are not
 * resumed: that answer is cut. */
static void quick_readers_end_while_slow_ones_trickle(void **state) {
    (void)state;
    static const char *const asked[SLOW] = {"", "Range: bytes=1000-40000000\r\n",
                                            "Range: bytes=0-30000000,31000000-40000000\r\n"};
    const int64_t size = 48 * MB + 123;
    struct digest d;
    struct script s;
    struct visit slow[SLOW] = {0};
    atomic_bool go = false;
    unsigned char *data = one_source(&s, "big", size, &d);
    world.slow_reader_ms = 1000;
    atomic_store(&s.gate, 0);
    atomic_store(&visits_asked, 0);
    served_start(8 * MB);
    trickle_and_overtake(slow, asked, &go, &d, data, size);
    assert_true(left_behind() >= SLOW);
    atomic_store(&go, true);
    for (int i = 0; i < SLOW; i++) {
        visit_wait(&slow[i]);
        bool several = strchr(asked[i], ',');
        if (slow[i].complete == several || !is_right(&slow[i], data)) fail_msg("%s: %s", slow[i].headers, slow[i].head);
        visit_clear(&slow[i]);
    }
    assert_true(atomic_load(&s.starts) >= 2);
    served_stop();
    struct budget_state memory;
    budget_read(BUDGET_PASS_THROUGH, &memory);
    assert_int_equal(memory.used, 0);
    world_clean();
    free(data);
}

/* A chunk that has begun cannot be ended from elsewhere. */
static void a_slow_reader_that_cannot_go_on_is_cut(void **state) {
    (void)state;
    static const char *const asked[SLOW] = {"", "", ""};
    const int64_t size = 40 * MB;
    struct digest d;
    struct script s;
    struct visit slow[SLOW] = {0};
    atomic_bool go = false;
    unsigned char *data = one_source(&s, "big", size, &d);
    world.slow_reader_ms = 1000;
    s.hide_size = true;
    atomic_store(&s.gate, 0);
    atomic_store(&visits_asked, 0);
    served_start(8 * MB);
    trickle_and_overtake(slow, asked, &go, &d, data, size);
    atomic_store(&go, true);
    for (int i = 0; i < SLOW; i++) {
        visit_wait(&slow[i]);
        assert_false(slow[i].complete);
        visit_clear(&slow[i]);
    }
    served_stop();
    world_clean();
    free(data);
}

/* --- all sorts of readers, by chance --- */

#define SIZE (22 * MB + 777)
#define VISITS 9

static struct {
    uint64_t client, source; /* one for each thread that draws */
    bool lies_ahead, lies, cuts, ahead, full;
    int64_t gate;           /* where the main fetch stands for a while */
    atomic_bool calm;       /* all is well from now on */
    _Atomic int64_t ranged; /* bytes sent ahead */
} chance;

static uint64_t draw(uint64_t *x, uint64_t below) {
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return (*x >> 11) % below;
}

/* fate[0]: the byte that is wrong; fate[1]: where it breaks off. */
static void draw_fate(struct script_fetch *f) {
    uint64_t *x = &chance.source;
    f->fate[0] = f->fate[1] = INT64_MAX;
    if (f->ranged ? chance.lies_ahead : chance.lies && draw(x, 2) == 0)
        f->fate[0] = f->at + (int64_t)draw(x, (uint64_t)(f->end - f->at));
    if (chance.cuts && draw(x, 3) != 0) f->fate[1] = f->at + (int64_t)draw(x, (uint64_t)(f->end - f->at));
}

static int64_t by_chance(struct script_fetch *f, unsigned char *chunk, int64_t n) {
    if (f->fate[0] == 0) draw_fate(f);
    if (atomic_load(&chance.calm)) return n;
    if (!f->ranged && draw(&chance.source, 3) == 0) return 0;
    if (f->at >= f->fate[1]) return ERR_UPSTREAM;
    if (f->at + n > f->fate[1]) n = f->fate[1] - f->at;
    if (f->fate[0] >= f->at && f->fate[0] < f->at + n) chunk[f->fate[0] - f->at] ^= 1;
    if (f->ranged) atomic_fetch_add(&chance.ranged, n);
    return n;
}

static void draw_range(char *out, size_t cap) {
    uint64_t *x = &chance.client;
    long long a = (long long)draw(x, SIZE), b = (long long)draw(x, SIZE), c = (long long)draw(x, 100000);
    long long low = a < b ? a : b, high = a < b ? b : a;
    switch (draw(x, 9)) {
    case 0:
        snprintf(out, cap, "bytes=%lld-%lld", low, high);
        return;
    case 1:
        snprintf(out, cap, "bytes=%lld-", high);
        return;
    case 2:
        snprintf(out, cap, "bytes=-%lld", c + 1);
        return;
    case 3:
        snprintf(out, cap, "bytes=0-");
        return;
    case 4: /* rising */
        snprintf(out, cap, "bytes=%lld-%lld,%lld-%lld", low, low + c, high, high + c);
        return;
    case 5: /* falling */
        snprintf(out, cap, "bytes=%lld-%lld,%lld-%lld,0-%lld", high, high + c, low, low + c, c);
        return;
    case 6: /* the whole in parts */
        snprintf(out, cap, "bytes=%lld-,0-%lld", low, low);
        return;
    default: /* far ahead */
        snprintf(out, cap, "bytes=%lld-%lld", (long long)(13 * MB) + c, (long long)(13 * MB) + 2 * c);
    }
}

static void draw_visit(struct visit *v) {
    uint64_t *x = &chance.client;
    char range[200];
    v->method = draw(x, 16) == 0 ? "HEAD" : "GET";
    v->by_node = draw(x, 5) == 0;
    v->after = (int64_t)draw(x, (uint64_t)chance.gate);
    if (draw(x, 6) == 0) v->leave_at = 1 + (int64_t)draw(x, SIZE);
    if (!chance.full && draw(x, 6) == 0) v->sip = 65536;
    if (draw(x, 3) == 0) return;
    draw_range(range, sizeof(range));
    snprintf(v->headers, sizeof(v->headers), "Range: %s\r\n%s", range,
             draw(x, chance.full ? 2 : 4) == 0 ? "If-Range: \"another\"\r\n" : "");
}

/* There are two of those that each kind of trouble concerns most: far ahead of the main fetch; or slow, and behind one
 * that has got all there is in the window, wanting what has been dropped. */
static void be_concerned(struct visit *v, bool first, const struct visit *front) {
    const char *asked = chance.ahead ? "Range: bytes=13000000-13000099\r\n" : "";
    if (chance.full) {
        v->after = chance.gate;
        v->behind = front;
        v->sip = 65536;
        asked = first ? "Range: bytes=22300000-\r\nIf-Range: \"another\"\r\n"
                      : "Range: bytes=22300000-22300099,13000000-13000099\r\n";
    }
    snprintf(v->headers, sizeof(v->headers), "%s", asked);
}

/* What came of all that ended. */
static struct { int wholes, parts, cut, refused; } outcome;

static void judge(struct visit *v, const unsigned char *data, int round) {
    visit_wait(v);
    if (!is_right(v, data))
        fail_msg("round %d: %s of %s%sis complete and wrong:\n%s", round, v->method, v->headers,
                 v->by_node ? "(a node) " : "", v->head);
    if (!v->complete)
        outcome.cut++;
    else if (v->status >= 300)
        outcome.refused++;
    else if (is_whole(v))
        outcome.wholes++;
    else
        outcome.parts++;
    visit_clear(v);
}

/* The main fetch stands until a piece was fetched ahead of it; or where memory alone has what is near the gate, until
 * all have asked. It may be that neither comes. */
static void stand_at_gate(struct script *s) {
    for (int i = 0; i < 4000; i++) {
        if (chance.ahead ? atomic_load(&chance.ranged) >= PIECE_SIZE : atomic_load(&visits_asked) == VISITS) break;
        usleep(500);
    }
    atomic_store(&s->gate, INT64_MAX);
}

/* Some of the visits, until all have ended or `stop` cuts them. */
static void storm(const struct digest *d, const unsigned char *data, int round, bool stop) {
    struct visit visits[VISITS] = {0};
    atomic_store(&visits_wait_no_more, false);
    atomic_store(&visits_asked, 0);
    for (int i = 0; i < VISITS; i++) {
        if (i > 3) draw_visit(&visits[i]); /* the first two want it all, at once */
        if (i == 2 || i == 3) be_concerned(&visits[i], i == 2, &visits[0]);
        visit_start(&visits[i], d, SIZE, NULL);
    }
    struct script *s = world.sources[0];
    if (chance.ahead || chance.full) stand_at_gate(s);
    if (stop) {
        /* Either it gets so far, or those who want it all have been turned away. */
        int64_t until = (int64_t)draw(&chance.client, SIZE);
        for (int i = 0; i < 2000 && atomic_load(&s->sent) < until; i++)
            usleep(500);
        atomic_store(&visits_wait_no_more, true);
        served_stop();
    }
    for (int i = 0; i < 2; i++)
        judge(&visits[i], data, round);
    atomic_store(&visits_wait_no_more, true);
    for (int i = 2; i < VISITS; i++)
        judge(&visits[i], data, round);
}

/* However it went: once all is well the next one gets it. What had gone wrong before may have to be found out yet. */
static void calm(const struct digest *d, const unsigned char *data, int round) {
    atomic_store(&chance.calm, true);
    for (int i = 0; i < 6; i++) {
        struct visit v = {0};
        visit_start(&v, d, SIZE, "");
        visit_wait(&v);
        bool whole = is_whole(&v);
        judge(&v, data, round);
        if (whole) return;
    }
    fail_msg("round %d: nobody gets it any more", round);
}

static void play(const struct digest *d, const unsigned char *data, int round, const uint8_t *proofs) {
    uint64_t *x = &chance.client;
    struct script sources[2];
    script_init(&sources[0], "one", data, SIZE);
    script_init(&sources[1], "other", data, SIZE);
    for (int i = 0; i < 2; i++)
        sources[i].rule = by_chance;
    /* Each kind of trouble alone, then all of them together. */
    bool full = round % 4 == 0 || (round % 4 == 3 && draw(x, 2) == 0), all = round % 4 == 3;
    chance.lies_ahead = round % 4 == 1 || all;
    chance.lies = all && draw(x, 2) == 0;
    chance.cuts = round % 4 == 2 || (all && draw(x, 2) == 0);
    chance.full = full;
    chance.ahead = chance.lies_ahead && !full;
    chance.gate = full ? 14 * MB + (int64_t)draw(x, 6 * MB) : SIZE;
    atomic_store(&chance.calm, false);
    atomic_store(&chance.ranged, 0);
    sources[0].gate_first = true;
    if (chance.ahead || full) atomic_store(&sources[0].gate, chance.ahead ? 1 * MB : chance.gate);
    bool told = round % 4 >= 2 && draw(x, 3) == 0, restarts = round % 4 >= 2 && draw(x, 2) == 0;
    world = (typeof(world)){
        .sources = {&sources[0], &sources[1]}, .n_sources = 1 + (unsigned)draw(x, 2), .advise_size = told ? SIZE : -1};
    if (told) world.proofs = proofs, world.n_proofs = 5;
    if (!told && all && draw(x, 3) == 0) world.claimed = true, world.advise_size = (int64_t)draw(x, 2 * SIZE);
    sources[0].hide_size = all && draw(x, 4) == 0;
    int64_t limit = full ? 1 * MB + (int64_t)draw(x, 5 * MB) : 0;
    if (draw(x, 2) == 0) world.slow_reader_ms = 1; /* whoever is slow for a moment is left behind */
    served_start(limit);
    storm(d, data, round, restarts);
    if (restarts) {
        served_start(limit);
        storm(d, data, round, false);
    }
    sources[0].hide_size = false;
    calm(d, data, round);
    served_stop();
    world_clean();
}

static void every_complete_answer_has_the_right_bytes(void **state) {
    (void)state;
    const char *given = getenv("ENTREPOT_TEST_SEED"), *rounds = getenv("ENTREPOT_TEST_ROUNDS");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid();
    printf("ENTREPOT_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    struct digest d;
    unsigned char *data = random_data(SIZE, &d);
    const uint8_t *proofs = world_prove(data, SIZE);
    chance.client = seed * 2654435769u + 1;
    chance.source = chance.client ^ 0x9e3779b97f4a7c15u;
    for (int round = 0; round < (rounds ? atoi(rounds) : 5); round++)
        play(&d, data, round, proofs);
    printf("%d wholes, %d parts, %d cut, %d refused\n", outcome.wholes, outcome.parts, outcome.cut, outcome.refused);
    assert_true(outcome.wholes > 0 && outcome.parts > 0);
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_gets_bytes_that_pass_through_has_dropped),
        cmocka_unit_test(a_wrong_piece_fetched_ahead_is_in_no_whole),
        cmocka_unit_test(a_blob_of_unknown_length_is_answered_although_the_disk_is_full),
        cmocka_unit_test(quick_readers_end_while_slow_ones_trickle),
        cmocka_unit_test(a_slow_reader_that_cannot_go_on_is_cut),
        cmocka_unit_test(every_complete_answer_has_the_right_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
