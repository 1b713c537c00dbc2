/* A batch of questions is answered in order, within bounds, whatever is asked and whenever tags resolve. */
#include "central/fleet/lookup.h"

#include "common/core/clock.h"
#include "common/core/loop.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/support/one_catalog.h"
#include "tests/unit/support/nth_digest.h"

static int set_up(void **state) {
    (void)state;
    return one_catalog_open();
}

static int tear_down(void **state) {
    (void)state;
    one_catalog_stop();
    return one_catalog_remove();
}

/* One question to the lookup, run on the loop; the answer is decoded into got. */
struct ask {
    struct lookup *lookup;
    const uint8_t *body;
    size_t len;
    bool finished;
    int code;
    struct error err;
    struct wire_response got;
};

static void on_finish(void *arg, int code, const void *response, size_t len, const struct error *err) {
    struct ask *a = arg;
    a->finished = true;
    a->code = code;
    if (code < 0)
        a->err = *err;
    else
        assert_int_equal(wire_response_decode(&a->got, response, len, NULL), 0);
    loop_stop(loop);
}

static void start(void *arg) {
    struct ask *a = arg;
    lookup_run(a->lookup, &(struct caller){.kind = CALLER_NODE}, a->body, a->len, "http-id", on_finish, a);
    assert_false(a->finished);
}

static void ask_bytes(struct ask *a, const void *body, size_t len) {
    a->body = body;
    a->len = len;
    loop_call(loop, start, a);
    loop_run(loop);
    assert_true(a->finished);
}

static void ask_queries(struct ask *a, struct wire_query *q, size_t n, uint64_t settings_version) {
    struct wire_request rq = {.queries = q, .n_queries = n, .settings_version = settings_version};
    uint8_t *body;
    size_t len;
    assert_int_equal(wire_request_encode(&rq, &body, &len, NULL), 0);
    catalog_flush(catalog);
    ask_bytes(a, body, len);
    assert_int_equal(a->code, 0);
    assert_int_equal(a->got.n_answers, n);
    free(body);
}

/* Resolves by the tag's name; "late" ones on a thread of their own. */
struct late {
    void (*done)(void *done_arg, const struct lookup_tag *found);
    void *done_arg;
};

static void *resolve_late(void *arg) {
    struct late *late = arg;
    const struct tag_facts facts = {.digest = nth_digest(1),
                                    .size = -1,
                                    .media_type = "a/b; c",
                                    .checked_at = clock_wall_s() - 1000,
                                    .stale = true,
                                    .deleted = true,
                                    .warning = "upstream is away"};
    struct lookup_tag t = {.code = 0, .facts = &facts};
    late->done(late->done_arg, &t);
    free(late);
    return NULL;
}

static void resolve(void *arg, const struct caller *caller, const struct repo_name *repo, const char *tag,
                    const char *request_id, void (*done)(void *done_arg, const struct lookup_tag *found),
                    void *done_arg) {
    (void)arg;
    (void)caller;
    assert_string_equal(repo->upstream, "docker.io");
    assert_string_equal(request_id, "http-id");
    if (strcmp(tag, "late") == 0) {
        struct late *late = malloc(sizeof(*late));
        *late = (struct late){done, done_arg};
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, resolve_late, late), 0);
        pthread_detach(t);
        return;
    }
    struct lookup_tag t = {.code = strcmp(tag, "missing") == 0   ? ERR_NOT_FOUND
                                   : strcmp(tag, "limited") == 0 ? ERR_RATE_LIMITED
                                                                 : ERR_TIMEOUT,
                           .retry_after_s = 30};
    if (t.code == ERR_NOT_FOUND) t.message = "docker.io has no such tag";
    done(done_arg, &t);
}

static struct wire_query tag_query(const char *tag) {
    struct wire_query q = {.kind = WIRE_QUERY_TAG, .repo = {"docker.io", "library/nginx"}};
    snprintf(q.tag, sizeof(q.tag), "%s", tag);
    return q;
}

static void answers_come_in_the_order_of_the_questions(void **state) {
    (void)state;
    struct manifest_child kid = {.digest = nth_digest(2), .size = 77, .kind = CHILD_LAYER};
    struct manifest m = {.children = &kid, .n_children = 1};
    struct digest d = nth_digest(1), big = nth_digest(3);
    uint8_t proofs[32] = {9};
    catalog_learn_manifest(catalog, &d, MEDIA_OCI_MANIFEST, 500, &m);
    catalog_learn_blob(catalog, &d, 500, true, NULL, 0);
    catalog_learn_blob(catalog, &big, PIECE_SIZE + 1, true, proofs, 32);
    struct lookup *l = lookup_new(&(struct lookup_config){.catalog = catalog, .pool = pool, .resolve_tag = resolve});
    struct wire_query q[] = {
        tag_query("late"),    {.kind = WIRE_QUERY_BLOB, .digest = nth_digest(2)},
        tag_query("missing"), {.kind = WIRE_QUERY_BLOB, .digest = big, .want_proofs = true},
        tag_query("limited"), {.kind = WIRE_QUERY_BLOB, .digest = nth_digest(99)},
        tag_query("slow"),    {.kind = WIRE_QUERY_UNKNOWN},
        tag_query("late"),
    };
    struct ask a = {.lookup = l};
    ask_queries(&a, q, ARRAY_LEN(q), 0);
    static const enum wire_status want[] = {WIRE_KNOWN,     WIRE_KNOWN,   WIRE_NOT_FOUND, WIRE_KNOWN, WIRE_RATE_LIMITED,
                                            WIRE_NOT_FOUND, WIRE_TIMEOUT, WIRE_INVALID,   WIRE_KNOWN};
    for (size_t i = 0; i < ARRAY_LEN(q); i++)
        assert_int_equal(a.got.answers[i].status, want[i]);
    const struct wire_answer *tag = &a.got.answers[0];
    assert_string_equal(tag->tag->tag, "late");
    assert_int_equal(tag->tag->facts.size, 500); /* the catalogue knew what the resolver did not */
    assert_string_equal(tag->tag->facts.media_type, "a/b");
    assert_true(tag->tag->facts.stale && tag->tag->facts.deleted && tag->tag->age_s >= 1000);
    assert_string_equal(tag->tag->facts.warning, "upstream is away");
    assert_int_equal(tag->manifest->doc.n_children, 1);
    assert_memory_equal(&tag->manifest->doc.children[0], &kid, sizeof(kid));
    assert_false(a.got.answers[1].blob->held);
    assert_int_equal(a.got.answers[1].blob->size, 77); /* as its manifest promises */
    assert_string_equal(a.got.answers[2].message, "docker.io has no such tag");
    assert_int_equal(a.got.answers[3].proofs_len, 32);
    assert_int_equal(a.got.answers[4].retry_after_s, 30);
    assert_string_equal(a.got.answers[6].message, error_name(ERR_TIMEOUT));
    assert_int_equal(a.got.sequence, 4);
    wire_response_fini(&a.got);
    lookup_free(l);
}

static void settings_go_only_to_who_has_others(void **state) {
    (void)state;
    struct wire_upstream up = {.name = "docker.io", .fresh_for_ms = 60000};
    struct wire_settings s = {.version = 4, .upstreams = &up, .n_upstreams = 1};
    struct lookup *l = lookup_new(&(struct lookup_config){.catalog = catalog, .pool = pool, .settings = &s});
    struct ask a = {.lookup = l}, b = {.lookup = l};
    ask_queries(&a, NULL, 0, 3);
    assert_non_null(a.got.settings);
    assert_int_equal(a.got.settings->version, 4);
    ask_queries(&b, NULL, 0, 4);
    assert_null(b.got.settings);
    wire_response_fini(&a.got);
    wire_response_fini(&b.got);
    lookup_free(l);
}

static void who_goes_by_other_settings_is_told_so(void **state) {
    (void)state;
    struct wire_settings s = {.version = 4};
    struct lookup *l = lookup_new(&(struct lookup_config){.catalog = catalog, .pool = pool, .settings = &s});
    assert_true(lookup_settings_version(l) == 4);
    for (uint64_t version = 0; version <= 5; version++) {
        struct ask a = {.lookup = l};
        struct wire_query q = {.kind = WIRE_QUERY_BLOB, .digest = nth_digest(1)};
        struct wire_request rq = {.queries = &q, .n_queries = 1, .settings_version = version};
        uint8_t *body;
        size_t len;
        assert_int_equal(wire_request_encode(&rq, &body, &len, NULL), 0);
        ask_bytes(&a, body, len);
        assert_int_equal(a.code, version == 4 ? 0 : ERR_OUTDATED);
        free(body);
        wire_response_fini(&a.got);
    }
    lookup_free(l);
}

static void tags_are_unavailable_without_a_resolver(void **state) {
    (void)state;
    struct lookup *l = lookup_new(&(struct lookup_config){.catalog = catalog, .pool = pool});
    struct wire_query q = tag_query("v1");
    struct ask a = {.lookup = l};
    ask_queries(&a, &q, 1, 0);
    assert_int_equal(a.got.answers[0].status, WIRE_UNAVAILABLE);
    wire_response_fini(&a.got);
    lookup_free(l);
}

static void junk_is_refused_and_said(void **state) {
    (void)state;
    struct lookup *l = lookup_new(&(struct lookup_config){.catalog = catalog, .pool = pool});
    struct ask a = {.lookup = l}, b = {.lookup = l};
    ask_bytes(&a, "\xff\xff\xff", 3);
    assert_int_equal(a.code, ERR_INVALID);
    assert_true(a.err.msg[0]);
    ask_bytes(&b, "\x08\x09", 2);
    assert_int_equal(b.code, ERR_UNSUPPORTED);
    lookup_free(l);
}

static void a_thousand_large_manifests_stay_within_the_limit(void **state) {
    (void)state;
    enum { KIDS = 2000, ASKED = 1000, MANIFESTS = 10 };
    struct manifest_child *kids = calloc(KIDS, sizeof(*kids));
    for (int i = 0; i < KIDS; i++)
        kids[i] = (struct manifest_child){.digest = nth_digest(1000 + i),
                                          .size = 1LL << 40,
                                          .kind = CHILD_MANIFEST,
                                          .os = "0123456789012345678901234567890",
                                          .arch = "0123456789012345678901234567890"};
    struct manifest m = {.children = kids, .n_children = KIDS};
    for (int i = 0; i < MANIFESTS; i++) {
        struct digest d = nth_digest(i);
        catalog_learn_manifest(catalog, &d, MEDIA_OCI_INDEX, 500, &m);
    }
    struct wire_query *q = calloc(ASKED, sizeof(*q));
    for (int i = 0; i < ASKED; i++)
        q[i] = (struct wire_query){.kind = WIRE_QUERY_BLOB, .digest = nth_digest(i % MANIFESTS)};
    struct lookup *l = lookup_new(&(struct lookup_config){.catalog = catalog, .pool = pool});
    struct ask a = {.lookup = l};
    ask_queries(&a, q, ASKED, 0);
    size_t known = 0;
    for (int i = 0; i < ASKED; i++) {
        known += a.got.answers[i].status == WIRE_KNOWN;
        if (a.got.answers[i].status != WIRE_KNOWN) assert_non_null(strstr(a.got.answers[i].message, "fewer"));
    }
    assert_in_range(known, 10, 200);
    wire_response_fini(&a.got);
    free(q);
    free(kids);
    lookup_free(l);
}

/* Tags that are told when the test says so. */
enum { HELD_MAX = 64, FULL_BATCH = 1000 };
static struct late held[HELD_MAX];
static size_t n_held, n_asked, n_refused, n_ended;

static void hold(void *arg, const struct caller *caller, const struct repo_name *repo, const char *tag,
                 const char *request_id, void (*done)(void *done_arg, const struct lookup_tag *found), void *done_arg) {
    (void)arg, (void)caller, (void)repo, (void)request_id;
    if (strcmp(tag, "held") == 0)
        held[n_held++] = (struct late){done, done_arg};
    else
        done(done_arg, &(struct lookup_tag){.code = ERR_NOT_FOUND});
}

static void on_end(void *arg, int code, const void *response, size_t len, const struct error *err) {
    (void)response, (void)len, (void)err;
    assert_true(code == 0 || code == ERR_BUSY);
    n_refused += code == ERR_BUSY;
    if (arg) *(int *)arg = code;
    if (++n_ended == n_asked || arg) loop_stop(loop);
}

struct batch_of {
    struct lookup *lookup;
    struct caller caller;
    const uint8_t *body;
    size_t len, times;
    int *code;
};

static void ask_times(void *arg) {
    const struct batch_of *b = arg;
    for (size_t i = 0; i < b->times; i++, n_asked++)
        lookup_run(b->lookup, &b->caller, b->body, b->len, "http-id", on_end, b->code);
}

static void tell_held(void *arg) {
    (void)arg;
    for (size_t i = 0; i < n_held; i++)
        held[i].done(held[i].done_arg, &(struct lookup_tag){.code = ERR_TIMEOUT});
}

/* A batch is under way until its slowest tag is told, so a few that name one take all room, if one edge may. */
static void batches_of_one_edge_leave_room_for_others(void **state) {
    (void)state;
    struct lookup *l = lookup_new(&(struct lookup_config){.catalog = catalog, .pool = pool, .resolve_tag = hold});
    struct wire_query *q = calloc(FULL_BATCH, sizeof(*q)), one = {.kind = WIRE_QUERY_BLOB, .digest = nth_digest(1)};
    for (int i = 0; i < FULL_BATCH; i++)
        q[i] = i == 0 ? tag_query("held") : (struct wire_query){.kind = WIRE_QUERY_BLOB, .digest = nth_digest(i)};
    struct wire_request many = {.queries = q, .n_queries = FULL_BATCH}, few = {.queries = &one, .n_queries = 1};
    uint8_t *body, *small;
    size_t len, small_len;
    int code = 1;
    assert_int_equal(wire_request_encode(&many, &body, &len, NULL), 0);
    assert_int_equal(wire_request_encode(&few, &small, &small_len, NULL), 0);
    struct batch_of greedy = {l, {.kind = CALLER_NODE, .name = "shanghai-1"}, body, len, 30, NULL};
    struct batch_of other = {l, {.kind = CALLER_NODE, .name = "suzhou-1"}, small, small_len, 1, &code};
    loop_call(loop, ask_times, &greedy);
    loop_call(loop, ask_times, &other);
    loop_run(loop);
    assert_int_equal(code, 0);
    assert_true(n_held >= 5); /* alone it gets half of the room */
    loop_call(loop, tell_held, NULL);
    while (n_ended < n_asked)
        loop_run(loop);
    assert_true(n_refused > 0);
    assert_int_equal(n_held + n_refused, greedy.times);
    free(body);
    free(small);
    free(q);
    lookup_free(l); /* nothing is under way */
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(answers_come_in_the_order_of_the_questions),
        TEST(settings_go_only_to_who_has_others),
        TEST(who_goes_by_other_settings_is_told_so),
        TEST(tags_are_unavailable_without_a_resolver),
        TEST(junk_is_refused_and_said),
        TEST(a_thousand_large_manifests_stay_within_the_limit),
        TEST(batches_of_one_edge_leave_room_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
