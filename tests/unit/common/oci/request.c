/* Request targets under /v2/ as rows of a table. */
#include "common/oci/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define D "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void endpoints_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *target;
        enum oci_endpoint endpoint;
        const char *path, *ref;
    } cases[] = {
        {"/v2/", OCI_BASE, "", ""},
        {"/v2", OCI_BASE, "", ""},
        {"/v2/?x=y", OCI_BASE, "", ""},
        {"/v2/_catalog", OCI_CATALOG, "", ""},
        {"/v2/a/b/blobs/" D, OCI_BLOB, "a/b", D},
        {"/v2/a/manifests/v1", OCI_MANIFEST, "a", "v1"},
        {"/v2/a/manifests/" D, OCI_MANIFEST, "a", D},
        {"/v2/a%2Fb/manifests/v1", OCI_MANIFEST, "a/b", "v1"},
        {"/v2/a/manifests/sha256%3A0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", OCI_MANIFEST, "a",
         D},
        {"/v2/localhost:5000/x/manifests/v1", OCI_MANIFEST, "localhost:5000/x", "v1"},
        {"/v2/docker.io/library/x/tags/list", OCI_TAGS, "docker.io/library/x", ""},
        {"/v2/a/referrers/" D, OCI_REFERRERS, "a", D},
        {"/v2/a/blobs/uploads/", OCI_UPLOADS, "a", ""},
        {"/v2/a/blobs/uploads", OCI_UPLOADS, "a", ""},
        {"/v2/a/blobs/uploads/0-9?_state=x", OCI_UPLOADS, "a", ""},
        /* Repositories whose components look like endpoints. */
        {"/v2/a/blobs/manifests/v1", OCI_MANIFEST, "a/blobs", "v1"},
        {"/v2/manifests/manifests/manifests", OCI_MANIFEST, "manifests", "manifests"},
        {"/v2/a/blobs/uploads/manifests/v1", OCI_MANIFEST, "a/blobs/uploads", "v1"},
        {"/v2/tags/list/tags/list", OCI_TAGS, "tags/list", ""},
        {"/v2/a/tags/manifests/list", OCI_MANIFEST, "a/tags", "list"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct oci_request rq;
        struct oci_refusal no;
        int r = oci_request_parse(&rq, cases[i].target, &no);
        if (r != 0) fail_msg("%s: %d %s", cases[i].target, r, no.msg);
        char ref[DIGEST_STR_MAX];
        assert_int_equal(rq.endpoint, cases[i].endpoint);
        assert_string_equal(rq.path, cases[i].path);
        assert_string_equal(cases[i].ref[0] ? reference_str(&rq.ref, ref) : "", cases[i].ref);
        assert_int_equal(rq.n, -1);
        assert_false(rq.has_ns || rq.has_last);
    }
}

static void odd_targets_are_refused_with_the_right_code(void **state) {
    (void)state;
    static const struct {
        const char *target;
        int status;
        const char *code;
    } cases[] = {
        {"/v2/../../etc/passwd", 400, "NAME_INVALID"},
        {"/v2/%2e%2e/%2e%2e/manifests/x", 400, "NAME_INVALID"},
        {"/v2/a/..%2f..%2fx/manifests/x", 400, "NAME_INVALID"},
        {"/v2/a//b/manifests/x", 400, "NAME_INVALID"},
        {"/v2//manifests/x", 400, "NAME_INVALID"},
        {"/v2/manifests/x", 400, "NAME_INVALID"},
        {"/v2/A/manifests/x", 400, "NAME_INVALID"},
        {"/v2/A/blobs/sha256:1", 400, "NAME_INVALID"},
        {"/v2/A/blobs/uploads/", 400, "NAME_INVALID"},
        {"/v2/blobs/uploads/", 400, "NAME_INVALID"},
        {"/v2/a%252fb/manifests/x", 400, "NAME_INVALID"}, /* decoded once only */
        {"/v2/a%00b/manifests/x", 400, "NAME_INVALID"},
        {"/v2/a%0d%0ab/manifests/x", 400, "NAME_INVALID"},
        {"/v2/a%zz/manifests/x", 400, "NAME_INVALID"},
        {"/v2/a/manifests/%", 400, "NAME_INVALID"},
        {"/v2/a/manifests/%4", 400, "NAME_INVALID"},
        {"/v2/a/blobs/sha256:12", 400, "DIGEST_INVALID"},
        {"/v2/a/blobs/latest", 400, "DIGEST_INVALID"},
        {"/v2/a/blobs/md5:abcd", 400, "DIGEST_INVALID"},
        {"/v2/a/referrers/nope", 400, "DIGEST_INVALID"},
        {"/v2/a/manifests/sha256:xx", 400, "DIGEST_INVALID"},
        {"/v2/a/manifests/.INVALID", 404, "MANIFEST_UNKNOWN"},
        {"/v2/a/manifests/", 404, "UNSUPPORTED"},
        {"/v2/a/tags/list/", 404, "UNSUPPORTED"},
        {"/v2/a", 404, "UNSUPPORTED"},
        {"/v2/a/frobs/x", 404, "UNSUPPORTED"},
        {"/v1/search", 404, "UNSUPPORTED"},
        {"/v2x/", 404, "UNSUPPORTED"},
        {"/", 404, "UNSUPPORTED"},
        {"", 404, "UNSUPPORTED"},
        {"/v2/a/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"},
        {"/v2/a/tags/list?n=1x", 400, "PAGINATION_NUMBER_INVALID"},
        {"/v2/a/tags/list?last=%0a", 400, "UNSUPPORTED"},
        {"/v2/a/manifests/x?ns=../x", 400, "NAME_INVALID"},
        {"/v2/a/manifests/x?ns=a%20b", 400, "NAME_INVALID"},
        {"/v2/a/manifests/x?ns=docker.io&ns=ghcr.io", 400, "NAME_INVALID"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct oci_request rq;
        struct oci_refusal no;
        int r = oci_request_parse(&rq, cases[i].target, &no);
        if (r >= 0 || no.status != cases[i].status || strcmp(no.code, cases[i].code) != 0)
            fail_msg("%s: %d %d %s %s", cases[i].target, r, no.status, no.code, no.msg);
        assert_int_equal(r, cases[i].status == 404 ? ERR_NOT_FOUND : ERR_INVALID);
        assert_true(no.msg[0]);
    }
}

static void overlong_names_and_paths_are_refused(void **state) {
    (void)state;
    char target[4096] = "/v2/";
    struct oci_request rq;
    struct oci_refusal no;
    memset(target + 4, 'a', REPO_MAX);
    strcpy(target + 4 + REPO_MAX, "/manifests/x");
    assert_int_equal(oci_request_parse(&rq, target, &no), 0);
    strcpy(target + 4 + REPO_MAX, "a/manifests/x");
    assert_int_equal(oci_request_parse(&rq, target, &no), ERR_INVALID);
    strcpy(target + 4, "docker.io/");
    memset(target + 14, 'a', REPO_MAX);
    strcpy(target + 14 + REPO_MAX, "/manifests/x");
    assert_int_equal(oci_request_parse(&rq, target, &no), 0);
    strcpy(target + 14 + REPO_MAX, "a/manifests/x");
    assert_int_equal(oci_request_parse(&rq, target, &no), ERR_INVALID);
    assert_string_equal(no.code, "NAME_INVALID");
    assert_non_null(strstr(no.msg, "at most 255 characters, this one has 256"));
    memset(target + 4, 'a', 3000);
    strcpy(target + 3004, "/manifests/x");
    assert_int_equal(oci_request_parse(&rq, target, &no), ERR_INVALID);
    assert_string_equal(no.code, "NAME_INVALID");
}

static void query_keys_are_read_and_unknown_ones_ignored(void **state) {
    (void)state;
    struct oci_request rq;
    struct oci_refusal no;
    assert_int_equal(oci_request_parse(&rq, "/v2/a/tags/list?n=100&last=v1%2E0&x&=&ns=localhost%3A5000&&", &no), 0);
    assert_int_equal(rq.n, 100);
    assert_true(rq.has_last);
    assert_string_equal(rq.last, "v1.0");
    assert_true(rq.has_ns);
    assert_string_equal(rq.ns, "localhost:5000");
    assert_int_equal(oci_request_parse(&rq, "/v2/a/tags/list?n=0&ns=", &no), 0);
    assert_int_equal(rq.n, 0);
    assert_false(rq.has_ns);
    assert_int_equal(oci_request_parse(&rq, "/v2/a/tags/list?n=99999999999999999999999", &no), 0);
    assert_int_equal(rq.n, 1000000000);
    assert_int_equal(oci_request_parse(&rq, "/v2/a/referrers/" D "?artifactType=application/spdx+json", &no), 0);
    assert_string_equal(rq.artifact_type, "application/spdx+json");
}

static void only_v2_is_the_api(void **state) {
    (void)state;
    assert_true(oci_is_api("/v2") && oci_is_api("/v2/") && oci_is_api("/v2?n=1") && oci_is_api("/v2/a/tags/list"));
    assert_false(oci_is_api("/v2foo") || oci_is_api("/v1/") || oci_is_api("v2/") || oci_is_api("/") || oci_is_api(""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_v2_is_the_api),
        cmocka_unit_test(endpoints_are_told_apart),
        cmocka_unit_test(odd_targets_are_refused_with_the_right_code),
        cmocka_unit_test(overlong_names_and_paths_are_refused),
        cmocka_unit_test(query_keys_are_read_and_unknown_ones_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
