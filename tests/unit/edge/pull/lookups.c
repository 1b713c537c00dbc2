/* The edge's questions to central's catalogue: gathered into messages, answered to the fills that asked, and followed
 * by the settings. Central is a function here, and so is what a fill is told: one thread, no network. */
#include "edge/pull/lookups.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/core/log.h"
#include "tests/unit/support/folder.h"

#define FILLS_MAX 3000
#define MESSAGES_MAX 8

/* --- what stands for fills --- */

struct told {
    int times;
    int64_t size;
    bool claimed;
    size_t n_proofs;
};

static struct told told[FILLS_MAX];

/* Nobody looks into a fill here. */
static struct fill *fill_number(size_t i) {
    return (struct fill *)(void *)&told[i];
}

void fill_advise(struct fill *f, const struct fill_advice *a) {
    struct told *t = (struct told *)(void *)f;
    *t = (struct told){
        .times = t->times + 1, .size = a->size, .claimed = a->claimed, .n_proofs = a->proofs ? a->n_proofs : 0};
}

/* --- what stands for central --- */

struct message {
    bool alone; /* for settings alone */
    struct wire_request rq;
    void (*done)(const struct fetch_end *end, const char *body, size_t len, void *arg);
    void *arg;
};

static struct message messages[MESSAGES_MAX];
static size_t n_messages, most_messages;

struct central_post *central_post(struct central_posts *all, const struct central_message *sent,
                                  central_post_done_fn *done, void *arg) {
    struct error err = {0};
    (void)all;
    assert_true(n_messages < MESSAGES_MAX);
    struct message *m = &messages[n_messages++];
    *m = (struct message){.alone = strcmp(sent->path, WIRE_SETTINGS_PATH) == 0, .done = done, .arg = arg};
    if (!m->alone) assert_string_equal(sent->path, WIRE_LOOKUP_PATH);
    assert_int_equal(sent->patient, !m->alone);
    assert_int_equal(wire_request_decode(&m->rq, sent->body, sent->len, &err), 0);
    if (n_messages > most_messages) most_messages = n_messages;
    return NULL;
}

/* The oldest message; what is done for it may send others. */
static struct message take_message(void) {
    assert_true(n_messages > 0);
    struct message m = messages[0];
    memmove(messages, messages + 1, --n_messages * sizeof(*messages));
    return m;
}

static void answer(struct message *m, const struct wire_response *rs) {
    uint8_t *data;
    size_t len;
    struct error err = {0};
    struct fetch_end good = {0};
    assert_int_equal(wire_response_encode(rs, &data, &len, &err), 0);
    m->done(&good, (const char *)data, len, m->arg);
    free(data);
    wire_request_fini(&m->rq);
}

static void answer_fails(struct message *m) {
    struct fetch_end end;
    fetch_end_set(&end, ERR_UPSTREAM, "central is away");
    m->done(&end, NULL, 0, m->arg);
    wire_request_fini(&m->rq);
}

/* --- the world --- */

static char dir[64];
static struct loop *loop;
static struct settings *settings;
static struct lookups *lookups;
static int readies, heards_good, heards_bad;

static int set_up(void **state) {
    (void)state;
    log_init(2, LOG_FORMAT_KV, LOG_LEVEL_ERROR, "test");
    snprintf(dir, sizeof(dir), "/tmp/entrepot-lookups-XXXXXX");
    assert_non_null(mkdtemp(dir));
    memset(told, 0, sizeof(told));
    n_messages = most_messages = 0;
    readies = heards_good = heards_bad = 0;
    loop = loop_new("test");
    settings = settings_new(dir, &(struct settings_own){0});
    lookups = lookups_new(loop, NULL, settings);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    lookups_free(lookups);
    while (n_messages > 0) {
        struct message m = take_message();
        wire_request_fini(&m.rq);
    }
    settings_free(settings);
    loop_free(loop);
    return folder_remove(dir);
}

static void on_ready(void *arg) {
    (void)arg;
    readies++;
}

static void on_heard(bool good, void *arg) {
    (void)arg;
    if (good)
        heards_good++;
    else
        heards_bad++;
}

static void stop_loop(void *arg) {
    (void)arg;
    loop_stop(loop);
}

/* Until what is due now has been done. */
static void run_due(void) {
    struct timer end;
    timer_init(&end, loop, stop_loop, NULL);
    timer_set(&end, 20);
    loop_run(loop);
    timer_fini(&end);
}

/* What was due last in `until` has happened. */
#define RUN_UNTIL(cond)                                \
    for (int turns = 0; !(cond); turns++, run_due()) { \
        if (turns > 500) fail_msg("never: %s", #cond); \
    }

static struct fill_spec spec_of(size_t i, bool manifest) {
    struct fill_spec spec = {.manifest = manifest, .repo = {"docker.io", "library/app"}};
    digest_of(&spec.digest, DIGEST_SHA256, &i, sizeof(i));
    return spec;
}

static void ask_for(size_t i, bool manifest) {
    struct fill_spec spec = spec_of(i, manifest);
    lookups_ask(lookups, fill_number(i), &spec);
}

static struct wire_settings *settings_of(uint64_t version) {
    struct wire_settings *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->version = version;
    s->upstreams = calloc(1, sizeof(*s->upstreams));
    s->n_upstreams = 1;
    snprintf(s->upstreams[0].name, sizeof(s->upstreams[0].name), "docker.io");
    s->default_upstream = strdup("docker.io");
    return s;
}

static void answer_settings(struct message *m, uint64_t version) {
    struct wire_settings *s = settings_of(version);
    answer(m, &(struct wire_response){.version = WIRE_VERSION, .settings = s});
    wire_settings_fini(s);
    free(s);
}

/* --- tests --- */

static void questions_of_one_moment_go_in_one_message(void **state) {
    (void)state;
    for (size_t i = 0; i < 5; i++)
        ask_for(i, i == 4);
    assert_int_equal(n_messages, 0);
    RUN_UNTIL(n_messages == 1);
    struct message m = take_message();
    assert_false(m.alone);
    assert_int_equal(m.rq.n_queries, 5);
    for (size_t i = 0; i < 5; i++) {
        struct fill_spec spec = spec_of(i, false);
        assert_int_equal(m.rq.queries[i].kind, WIRE_QUERY_BLOB);
        assert_true(digest_eq(&m.rq.queries[i].digest, &spec.digest));
        assert_int_equal(m.rq.queries[i].want_proofs, i != 4); /* of a manifest none are made */
    }
    struct wire_blob blobs[5];
    struct wire_answer answers[5];
    for (size_t i = 0; i < 5; i++) {
        blobs[i] = (struct wire_blob){.digest = m.rq.queries[i].digest, .size = 100 + (int64_t)i, .claimed = i == 1};
        answers[i] = (struct wire_answer){.status = WIRE_KNOWN, .blob = &blobs[i]};
    }
    answers[2] = (struct wire_answer){.status = WIRE_NOT_FOUND};
    answer(&m, &(struct wire_response){.version = WIRE_VERSION, .answers = answers, .n_answers = 5});
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(told[i].times, 1);
        assert_int_equal(told[i].size, i == 2 ? -1 : 100 + (int64_t)i);
        assert_int_equal(told[i].claimed, i == 1 || i == 2);
    }
}

static void more_than_a_message_holds_goes_in_several_and_few_at_a_time(void **state) {
    (void)state;
    size_t asked = FILLS_MAX, answered = 0;
    for (size_t i = 0; i < asked; i++)
        ask_for(i, false);
    while (answered < asked) {
        RUN_UNTIL(n_messages > 0);
        struct message m = take_message();
        assert_in_range(m.rq.n_queries, 1, WIRE_MAX_QUERIES);
        answered += m.rq.n_queries;
        answer_fails(&m);
    }
    assert_int_equal(n_messages, 0);
    assert_in_range(most_messages, 1, 4);
    for (size_t i = 0; i < asked; i++)
        assert_int_equal(told[i].times, 1);
}

/* A central that is away, that answers rubbish, too little, or nothing before the node ends. */
static void every_fill_is_told_once_whatever_central_does(void **state) {
    (void)state;
    struct fetch_end good = {0};
    ask_for(0, false);
    RUN_UNTIL(n_messages == 1);
    struct message away = take_message();
    answer_fails(&away);

    ask_for(1, false);
    RUN_UNTIL(n_messages == 1);
    struct message rubbish = take_message();
    rubbish.done(&good, "\xff\xff", 2, rubbish.arg);
    wire_request_fini(&rubbish.rq);

    ask_for(2, false);
    ask_for(3, false);
    RUN_UNTIL(n_messages == 1);
    struct message little = take_message();
    struct wire_blob blob = {.digest = little.rq.queries[0].digest, .size = 7};
    struct wire_answer one = {.status = WIRE_KNOWN, .blob = &blob};
    answer(&little, &(struct wire_response){.version = WIRE_VERSION, .answers = &one, .n_answers = 1});

    ask_for(4, false);
    RUN_UNTIL(n_messages == 1); /* under way */
    ask_for(5, false);          /* not sent */
    lookups_free(lookups);
    lookups = NULL;
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(told[i].times, 1);
        assert_int_equal(told[i].size, i == 2 ? 7 : -1);
        assert_int_equal(told[i].n_proofs, 0);
    }
}

/* Pieces are told apart by their proofs: a list of another length belongs to another blob. */
static void proofs_count_only_where_they_fit_a_size_that_is_known(void **state) {
    (void)state;
    static uint8_t bytes[4 * DIGEST_MAX_BYTES];
    static const struct {
        int64_t size;
        size_t len;
        bool claimed;
        size_t n;
    } cases[] = {{3 * PIECE_SIZE, 64, false, 2},
                 {3 * PIECE_SIZE + 1, 96, false, 3},
                 {3 * PIECE_SIZE, 96, false, 0},
                 {3 * PIECE_SIZE, 32, false, 0},
                 {3 * PIECE_SIZE, 64, true, 0},
                 {PIECE_SIZE, 0, false, 0},
                 {3 * PIECE_SIZE - 1, 64, false, 2},
                 {-1, 64, false, 0},
                 {0, 32, false, 0}};
    size_t n = ARRAY_LEN(cases);
    for (size_t i = 0; i < n; i++)
        ask_for(i, false);
    RUN_UNTIL(n_messages == 1);
    struct message m = take_message();
    struct wire_blob blobs[ARRAY_LEN(cases)];
    struct wire_answer answers[ARRAY_LEN(cases)];
    for (size_t i = 0; i < n; i++) {
        blobs[i] =
            (struct wire_blob){.digest = m.rq.queries[i].digest, .size = cases[i].size, .claimed = cases[i].claimed};
        answers[i] =
            (struct wire_answer){.status = WIRE_KNOWN, .blob = &blobs[i], .proofs = bytes, .proofs_len = cases[i].len};
    }
    answer(&m, &(struct wire_response){.version = WIRE_VERSION, .answers = answers, .n_answers = n});
    for (size_t i = 0; i < n; i++) {
        if (told[i].n_proofs != cases[i].n) fail_msg("row %zu: %zu proofs", i, told[i].n_proofs);
    }
}

/* What an index or a manifest names is asked for next, and its size is known before central has answered that. */
static void sizes_of_a_manifest_s_children_are_remembered_as_claims(void **state) {
    (void)state;
    ask_for(0, true);
    RUN_UNTIL(n_messages == 1);
    struct message m = take_message();
    struct manifest_child children[2] = {{.size = 4321}, {.size = -1}};
    children[0].digest = spec_of(1, false).digest;
    children[1].digest = spec_of(2, false).digest;
    struct wire_manifest manifest = {.digest = m.rq.queries[0].digest, .size = 500};
    snprintf(manifest.doc.media_type, sizeof(manifest.doc.media_type), "application/vnd.oci.image.manifest.v1+json");
    manifest.doc.children = children;
    manifest.doc.n_children = 2;
    struct wire_answer one = {.status = WIRE_KNOWN, .manifest = &manifest};
    answer(&m, &(struct wire_response){.version = WIRE_VERSION, .answers = &one, .n_answers = 1});
    ask_for(1, false);
    ask_for(2, false);
    RUN_UNTIL(n_messages == 1);
    m = take_message();
    answer_fails(&m);
    assert_int_equal(told[1].size, 4321);
    assert_true(told[1].claimed);
    assert_int_equal(told[2].size, -1);
}

/* Without settings nobody may guess at names, so whoever waits for them waits for an answer, good or not. */
static void ready_comes_once_when_central_has_told_settings_or_cannot(void **state) {
    (void)state;
    lookups_on_heard(lookups, on_heard, NULL);
    lookups_begin(lookups, on_ready, NULL);
    RUN_UNTIL(n_messages == 1);
    assert_int_equal(readies, 0);
    struct message m = take_message();
    assert_true(m.alone && m.rq.n_queries == 0 && m.rq.settings_version == 0);
    lookups_refresh(lookups); /* that is under way */
    assert_int_equal(n_messages, 0);
    answer_fails(&m);
    assert_true(readies == 1 && heards_bad == 1 && heards_good == 0);
    assert_false(settings_known(settings));
    /* Asked again by itself, soon. */
    RUN_UNTIL(n_messages == 1);
    m = take_message();
    answer_settings(&m, 77);
    assert_true(readies == 1 && heards_good == 1);
    assert_int_equal(settings_version(settings), 77);
    /* From now on central is told which we have. */
    lookups_refresh(lookups);
    assert_int_equal(n_messages, 1);
    assert_true(messages[0].alone && messages[0].rq.settings_version == 77);
}

/* Those kept from an earlier life do at once, but are asked for whole: central may be another one. */
static void kept_settings_do_at_once_and_are_asked_for_anew(void **state) {
    (void)state;
    struct wire_settings *kept = settings_of(5);
    settings_apply(settings, kept);
    free(kept);
    lookups_begin(lookups, on_ready, NULL);
    RUN_UNTIL(readies == 1);
    RUN_UNTIL(n_messages == 1);
    assert_int_equal(messages[0].rq.settings_version, 0);
    struct message m = take_message();
    answer_settings(&m, 6);
    assert_int_equal(settings_version(settings), 6);
    assert_int_equal(readies, 1);
}

/* Questions carry the version that they go by, and an answer may bring newer settings. */
static void an_answer_to_questions_brings_settings_too(void **state) {
    (void)state;
    struct wire_settings *kept = settings_of(5);
    settings_apply(settings, kept);
    free(kept);
    ask_for(0, false);
    RUN_UNTIL(n_messages == 1);
    assert_int_equal(messages[0].rq.settings_version, 5);
    struct message m = take_message();
    answer_settings(&m, 8);
    assert_int_equal(settings_version(settings), 8);
    assert_int_equal(told[0].times, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(questions_of_one_moment_go_in_one_message, set_up, tear_down),
        cmocka_unit_test_setup_teardown(more_than_a_message_holds_goes_in_several_and_few_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_fill_is_told_once_whatever_central_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(proofs_count_only_where_they_fit_a_size_that_is_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sizes_of_a_manifest_s_children_are_remembered_as_claims, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ready_comes_once_when_central_has_told_settings_or_cannot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(kept_settings_do_at_once_and_are_asked_for_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_to_questions_brings_settings_too, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
