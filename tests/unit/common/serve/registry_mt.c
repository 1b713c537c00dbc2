/* Requests go to what answers them; those that cannot be answered get the status and code of the registry API. */
#include "tests/unit/common/serve/served.h"

#define DIGEST "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct script source;

static int start(int refuse) {
    static const unsigned char data[] = "x";
    script_init(&source, "one", data, 1);
    source.refuse = refuse;
    world = (typeof(world)){.sources = {&source}, .n_sources = 1, .advise_size = -1};
    served_start(0);
    return 0;
}

static int start_without_content(void **state) {
    (void)state;
    return start(ERR_NOT_FOUND);
}

static int stop(void **state) {
    (void)state;
    served_stop();
    world_clean();
    return 0;
}

static void is_refused(const char *method, const char *target, int status, const char *code) {
    struct visit v = visit_now(method, target, "");
    visit_is_error(&v, status, code);
    if (status == 405) {
        char allow[128];
        assert_non_null(visit_header(&v, "Allow", allow, sizeof(allow)));
    }
    visit_clear(&v);
}

static void requests_go_to_their_endpoint(void **state) {
    (void)state;
    struct visit v = visit_now("GET", "/v2/", "");
    assert_int_equal(v.status, 200);
    visit_has(&v, "Docker-Distribution-Api-Version", "registry/2.0");
    assert_string_equal(v.body, "{}");
    visit_clear(&v);
    v = visit_now("GET", "/v2/_catalog", "");
    assert_int_equal(v.status, 200);
    assert_string_equal(v.body, "{\"repositories\":[]}");
    visit_clear(&v);
    is_refused("GET", "/v2/a/blobs/" DIGEST, 404, "BLOB_UNKNOWN");
    assert_int_equal(atomic_load(&source.starts), 1);
    is_refused("HEAD", "/v2/b/blobs/" DIGEST, 404, "");
    assert_int_equal(atomic_load(&source.heads), 1);
    is_refused("GET", "/v2/a/manifests/v1", 404, "MANIFEST_UNKNOWN");
    assert_int_equal(atomic_load(&source.heads), 2);
    is_refused("GET", "/v2/a/tags/list", 404, "NAME_UNKNOWN");
    assert_int_equal(atomic_load(&source.starts), 2);
}

static void requests_outside_the_api_are_answered_in_text(void **state) {
    (void)state;
    static const struct {
        const char *method, *target;
        int status;
    } cases[] = {{"GET", "/", 200}, {"GET", "/v1/", 404}, {"GET", "/v22", 404}, {"POST", "/", 405}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct visit v = visit_now(cases[i].method, cases[i].target, "");
        assert_int_equal(v.status, cases[i].status);
        visit_has(&v, "Content-Type", "text/plain; charset=utf-8");
        if (v.status == 405) visit_has(&v, "Allow", "GET, HEAD");
        visit_clear(&v);
    }
}

static void requests_that_cannot_be_read_have_their_code(void **state) {
    (void)state;
    static const struct {
        const char *target;
        int status;
        const char *code;
    } cases[] = {
        {"/v2/a/no/such/endpoint", 404, "UNSUPPORTED"},
        {"/v2/UPPER/manifests/v1", 400, "NAME_INVALID"},
        {"/v2/a/../b/manifests/v1", 400, "NAME_INVALID"},
        {"/v2/a/blobs/sha256:short", 400, "DIGEST_INVALID"},
        {"/v2/a/manifests/sha256:short", 400, "DIGEST_INVALID"},
        {"/v2/a/manifests/-v1", 404, "MANIFEST_UNKNOWN"},
        {"/v2/a/tags/list?n=many", 400, "PAGINATION_NUMBER_INVALID"},
        {"/v2/a/manifests/v1?ns=b%2Fd", 400, "NAME_INVALID"},
        {"/v2/a/manifests/%zz", 400, "NAME_INVALID"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        is_refused("GET", cases[i].target, cases[i].status, cases[i].code);
    assert_int_equal(atomic_load(&source.starts) + atomic_load(&source.heads), 0);
}

static void writes_are_refused_and_name_what_is_allowed(void **state) {
    (void)state;
    static const struct {
        const char *method, *target, *allow;
    } cases[] = {
        {"POST", "/v2/", "GET, HEAD"},
        {"PUT", "/v2/a/manifests/v1", "GET, HEAD"},
        {"DELETE", "/v2/a/manifests/" DIGEST, "GET, HEAD"},
        {"DELETE", "/v2/a/blobs/" DIGEST, "GET, HEAD"},
        {"POST", "/v2/a/blobs/uploads/", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct visit v = visit_now(cases[i].method, cases[i].target, "");
        visit_is_error(&v, 405, "UNSUPPORTED");
        visit_has(&v, "Allow", cases[i].allow);
        visit_clear(&v);
    }
}

static void failures_of_the_source_have_their_code(void **state) {
    (void)state;
    static const struct {
        int refuse, status;
        const char *blob, *manifest, *retry_after;
    } cases[] = {
        {ERR_NOT_FOUND, 404, "BLOB_UNKNOWN", "MANIFEST_UNKNOWN", NULL},
        {ERR_DENIED, 404, "BLOB_UNKNOWN", "MANIFEST_UNKNOWN", NULL},
        {ERR_RATE_LIMITED, 429, "TOOMANYREQUESTS", "TOOMANYREQUESTS", "60"},
        {ERR_TIMEOUT, 504, "UNAVAILABLE", "UNAVAILABLE", NULL},
        {ERR_UNREACHABLE, 502, "UNAVAILABLE", "UNAVAILABLE", NULL},
        {ERR_INVALID, 400, "NAME_INVALID", "NAME_INVALID", NULL},
        {ERR_BUSY, 503, "UNAVAILABLE", "UNAVAILABLE", "1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        start(cases[i].refuse);
        for (int k = 0; k < 2; k++) {
            struct visit v = visit_now("GET", k ? "/v2/a/manifests/v1" : "/v2/a/blobs/" DIGEST, "");
            visit_is_error(&v, cases[i].status, k ? cases[i].manifest : cases[i].blob);
            if (cases[i].retry_after)
                visit_has(&v, "Retry-After", cases[i].retry_after);
            else
                visit_has_not(&v, "Retry-After");
            visit_has_not(&v, "Docker-Content-Digest");
            visit_clear(&v);
        }
        stop(state);
    }
}

#define T(test) cmocka_unit_test_setup_teardown(test, start_without_content, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(requests_go_to_their_endpoint),
        T(requests_outside_the_api_are_answered_in_text),
        T(requests_that_cannot_be_read_have_their_code),
        T(writes_are_refused_and_name_what_is_allowed),
        cmocka_unit_test(failures_of_the_source_have_their_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
