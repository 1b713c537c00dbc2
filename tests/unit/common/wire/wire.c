/* Messages between tiers survive the wire, and what breaks the rules is refused. */
#include "common/wire/wire.h"

#include "proto/catalog.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct digest digest_n(int n) {
    struct digest d;
    digest_of(&d, n % 2 ? DIGEST_SHA512 : DIGEST_SHA256, &n, sizeof(n));
    return d;
}

static void a_request_comes_back_as_it_was(void **state) {
    (void)state;
    struct wire_query q[3] = {
        {.kind = WIRE_QUERY_TAG, .repo = {"docker.io", "library/nginx"}, .tag = "1.27"},
        {.kind = WIRE_QUERY_BLOB, .digest = digest_n(1), .want_proofs = true, .repo = {"", "sample/hello"}},
        {.kind = WIRE_QUERY_BLOB, .digest = digest_n(2)},
    };
    struct wire_request rq = {.request_id = "abc-1", .settings_version = 7, .queries = q, .n_queries = 3}, got;
    uint8_t *bytes;
    size_t len;
    assert_int_equal(wire_request_encode(&rq, &bytes, &len, NULL), 0);
    assert_int_equal(wire_request_decode(&got, bytes, len, NULL), 0);
    assert_int_equal(got.version, WIRE_VERSION);
    assert_int_equal(got.settings_version, 7);
    assert_string_equal(got.request_id, "abc-1");
    assert_int_equal(got.n_queries, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(got.queries[i].kind, q[i].kind);
        assert_string_equal(got.queries[i].repo.upstream, q[i].repo.upstream);
        assert_string_equal(got.queries[i].repo.path, q[i].repo.path);
        assert_string_equal(got.queries[i].tag, q[i].tag);
        assert_true(digest_eq(&got.queries[i].digest, &q[i].digest));
        assert_int_equal(got.queries[i].want_proofs, q[i].want_proofs);
    }
    wire_request_fini(&got);
    free(bytes);
}

/* One answer of every part; arrays are the caller's. */
static void a_response_comes_back_as_it_was(void **state) {
    (void)state;
    struct manifest_child kids[2] = {{.digest = digest_n(3), .size = -1, .kind = CHILD_CONFIG},
                                     {.digest = digest_n(4),
                                      .size = 1LL << 40,
                                      .kind = CHILD_MANIFEST,
                                      .os = "linux",
                                      .arch = "arm",
                                      .variant = "v7"}};
    struct wire_blob blob = {digest_n(2), 42, true, false};
    struct wire_manifest manifest = {digest_n(2), 42, {.children = kids, .n_children = 2}};
    strcpy(manifest.doc.media_type, MEDIA_OCI_INDEX);
    struct wire_tag tag = {
        .repo = {"", "a/b"},
        .tag = "v",
        .age_s = 9,
        .facts = {
            .digest = digest_n(2), .size = 42, .checked_at = 77, .stale = true, .deleted = true, .warning = "old"}};
    strcpy(tag.facts.media_type, MEDIA_OCI_INDEX);
    uint8_t proofs[64] = {1, 2, 3};
    struct wire_answer answers[2] = {
        {.status = WIRE_KNOWN, .blob = &blob, .manifest = &manifest, .tag = &tag, .proofs = proofs, .proofs_len = 64},
        {.status = WIRE_RATE_LIMITED, .message = "wait", .retry_after_s = 30}};
    char endpoint[] = "https://mirror.example/v2/hub";
    char *endpoints[] = {endpoint};
    struct wire_upstream up = {
        .name = "docker.io", .fresh_for_ms = 60000, .per_repository = true, .endpoints = endpoints, .n_endpoints = 1};
    char hosted[] = "acme/**", own[] = "me.example", def[] = "docker.io";
    char *hosted_list[] = {hosted}, *own_list[] = {own};
    struct wire_settings settings = {5, &up, 1, def, hosted_list, 1, own_list, 1};
    struct wire_response rs = {.answers = answers, .n_answers = 2, .settings = &settings, .sequence = 99}, got;
    uint8_t *bytes;
    size_t len;
    assert_int_equal(wire_response_encode(&rs, &bytes, &len, NULL), 0);
    assert_true(len <= 64 + 200 + wire_answer_bound(&answers[0]) + wire_answer_bound(&answers[1]));
    assert_int_equal(wire_response_decode(&got, bytes, len, NULL), 0);
    assert_int_equal(got.sequence, 99);
    assert_int_equal(got.n_answers, 2);
    const struct wire_answer *a = &got.answers[0];
    assert_true(a->blob->held && a->blob->size == 42 && digest_eq(&a->blob->digest, &blob.digest));
    assert_int_equal(a->proofs_len, 64);
    assert_memory_equal(a->proofs, proofs, 64);
    assert_true(a->manifest->doc.is_index);
    assert_int_equal(a->manifest->doc.n_children, 2);
    assert_memory_equal(a->manifest->doc.children, kids, sizeof(kids));
    assert_true(a->tag->facts.stale && a->tag->facts.deleted && a->tag->age_s == 9 && a->tag->facts.size == 42);
    assert_string_equal(a->tag->facts.warning, "old");
    assert_string_equal(got.answers[1].message, "wait");
    assert_int_equal(got.answers[1].retry_after_s, 30);
    assert_string_equal(got.settings->upstreams[0].name, "docker.io");
    assert_true(got.settings->upstreams[0].per_repository);
    assert_int_equal(got.settings->upstreams[0].n_endpoints, 1);
    assert_string_equal(got.settings->upstreams[0].endpoints[0], "https://mirror.example/v2/hub");
    assert_string_equal(got.settings->default_upstream, "docker.io");
    assert_string_equal(got.settings->hosted[0], "acme/**");
    assert_string_equal(got.settings->own_names[0], "me.example");
    wire_response_fini(&got);
    free(bytes);
}

static void a_bad_query_leaves_the_rest_of_its_batch_answered(void **state) {
    (void)state;
    Entrepot__V1__Repository up = ENTREPOT__V1__REPOSITORY__INIT;
    up.path = (char[]){"../etc"};
    Entrepot__V1__TagQuery tag = ENTREPOT__V1__TAG_QUERY__INIT;
    tag.repository = &up;
    tag.tag = (char[]){"v1"};
    Entrepot__V1__BlobQuery blob = ENTREPOT__V1__BLOB_QUERY__INIT;
    Entrepot__V1__Digest digest = ENTREPOT__V1__DIGEST__INIT;
    digest.alg = 77;
    blob.digest = &digest;
    Entrepot__V1__Query q[3] = {ENTREPOT__V1__QUERY__INIT, ENTREPOT__V1__QUERY__INIT, ENTREPOT__V1__QUERY__INIT};
    q[0].what_case = ENTREPOT__V1__QUERY__WHAT_TAG;
    q[0].tag = &tag;
    q[1].what_case = ENTREPOT__V1__QUERY__WHAT_BLOB;
    q[1].blob = &blob;
    Entrepot__V1__Query *list[] = {&q[0], &q[1], &q[2]};
    Entrepot__V1__LookupRequest p = ENTREPOT__V1__LOOKUP_REQUEST__INIT;
    p.version = 1;
    p.request_id = (char[]){"odd id\n"};
    p.n_queries = 3;
    p.queries = list;
    uint8_t bytes[256];
    size_t len = entrepot__v1__lookup_request__pack(&p, bytes);
    struct wire_request got;
    assert_int_equal(wire_request_decode(&got, bytes, len, NULL), 0);
    assert_string_equal(got.request_id, "");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(got.queries[i].kind, WIRE_QUERY_UNKNOWN);
        assert_non_null(got.queries[i].refused);
    }
    wire_request_fini(&got);
}

static void newer_versions_and_too_many_queries_are_refused(void **state) {
    (void)state;
    struct wire_request got;
    struct error err;
    assert_int_equal(wire_request_decode(&got, "\x08\x02", 2, &err), ERR_UNSUPPORTED);
    assert_int_equal(wire_request_decode(&got, "", 0, &err), ERR_UNSUPPORTED);
    assert_int_equal(wire_request_decode(&got, "junk", 4, &err), ERR_INVALID);
    uint8_t many[2 + 2 * (WIRE_MAX_QUERIES + 1)] = {0x08, 1};
    for (size_t i = 2; i < sizeof(many); i += 2)
        many[i] = 0x22;
    assert_int_equal(wire_request_decode(&got, many, sizeof(many) - 2, &err), 0);
    wire_request_fini(&got);
    assert_int_equal(wire_request_decode(&got, many, sizeof(many), &err), ERR_TOO_BIG);
    assert_non_null(strstr(err.msg, "1000"));
}

static void a_body_of_tiny_fields_cannot_take_much_memory(void **state) {
    (void)state;
    static const uint8_t pieces[][2] = {{0x22, 0}, {0x78, 0}, {0x12, 0}};
    uint8_t *body = malloc(WIRE_MAX_REQUEST);
    for (size_t k = 0; k < ARRAY_LEN(pieces); k++) {
        for (size_t i = 0; i < WIRE_MAX_REQUEST; i += 2)
            memcpy(body + i, pieces[k], 2);
        struct wire_request got;
        assert_true(wire_request_decode(&got, body, WIRE_MAX_REQUEST, NULL) < 0);
        wire_request_fini(&got);
    }
    struct wire_request got;
    assert_int_equal(wire_request_decode(&got, body, WIRE_MAX_REQUEST + 1, NULL), ERR_TOO_BIG);
    free(body);
}

static void an_unknown_field_is_ignored(void **state) {
    (void)state;
    struct wire_request got;
    assert_int_equal(wire_request_decode(&got, "\x08\x01\xfa\x7f\x03xyz\x22\x03\xfa\x7f", 12, NULL), ERR_INVALID);
    assert_int_equal(wire_request_decode(&got, "\x08\x01\xfa\x7f\x03xyz", 8, NULL), 0);
    wire_request_fini(&got);
}

static void a_status_and_its_error_code_mean_each_other(void **state) {
    (void)state;
    for (int s = WIRE_UNSPECIFIED; s <= WIRE_TIMEOUT; s++) {
        int code = wire_status_error((enum wire_status)s);
        bool unknown = s == WIRE_UNSPECIFIED || s == WIRE_UNAVAILABLE;
        assert_int_equal(wire_status_of(code), unknown ? WIRE_UNAVAILABLE : s);
        assert_int_equal(code == ERR_UPSTREAM, unknown);
    }
    assert_int_equal(wire_status_of(0), WIRE_KNOWN);
    assert_int_equal(wire_status_of(ERR_INTERNAL), WIRE_UNAVAILABLE);
    assert_int_equal(wire_status_error((enum wire_status)99), ERR_UPSTREAM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_comes_back_as_it_was),
        cmocka_unit_test(a_response_comes_back_as_it_was),
        cmocka_unit_test(a_bad_query_leaves_the_rest_of_its_batch_answered),
        cmocka_unit_test(newer_versions_and_too_many_queries_are_refused),
        cmocka_unit_test(a_body_of_tiny_fields_cannot_take_much_memory),
        cmocka_unit_test(an_unknown_field_is_ignored),
        cmocka_unit_test(a_status_and_its_error_code_mean_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
