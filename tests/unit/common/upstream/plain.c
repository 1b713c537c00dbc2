/* An upstream that answers as it should, or says no: what is asked, and what answers mean. */
#include "tests/unit/common/upstream/fixture.h"

static bool plain(struct script_server *s, int fd, const char *head) {
    (void)s;
    keep(head);
    ok(fd,
       "Content-Type: application/vnd.oci.image.manifest.v1+json; charset=utf-8\r\nDocker-Content-Digest: " BLOB "\r\n",
       strncmp(head, "HEAD", 4) == 0 ? "" : "hello");
    return true;
}

static void upstream_asks_for_what_is_wanted(void **state) {
    (void)state;
    stage(plain);
    struct probe p = get(FETCH_BLOB);
    assert_int_equal(p.end.code, 0);
    assert_string_equal(p.body, "hello");
    assert_int_equal(p.head.total, 5);
    assert_non_null(strstr(seen, "GET /v2/library/app/blobs/" BLOB " HTTP/1.1"));
    assert_non_null(strstr(seen, "X-Request-Id: id-7"));
    assert_null(strstr(seen, "Authorization"));
    assert_null(strstr(seen, "Range"));
    assert_non_null(strstr(seen, "Accept-Encoding: identity"));

    p = get(FETCH_MANIFEST);
    assert_string_equal(p.head.media_type, "application/vnd.oci.image.manifest.v1+json");
    assert_true(p.head.has_digest);
    char accept[512];
    script_header(seen, "Accept", accept, sizeof(accept));
    assert_non_null(strstr(accept, "application/vnd.docker.distribution.manifest.list.v2+json"));
    assert_non_null(strstr(accept, "application/vnd.docker.distribution.manifest.v2+json"));
    assert_non_null(strstr(accept, "application/vnd.oci.image.index.v1+json"));
    assert_int_equal(strncmp(strstr(accept, "*/*"), "*/*", 3), 0);
    assert_true(strlen(strstr(accept, "*/*")) < 10); /* last */

    p = get(FETCH_MANIFEST_HEAD);
    assert_int_equal(p.end.code, 0);
    assert_non_null(strstr(seen, "HEAD /v2/library/app/manifests/v1 "));
    p = fetch_of((struct fetch_request){.kind = FETCH_TAGS, .query = "n=5&last=a"});
    assert_non_null(strstr(seen, "GET /v2/library/app/tags/list?n=5&last=a "));
    p = get(FETCH_REFERRERS);
    assert_non_null(strstr(seen, "GET /v2/library/app/referrers/" BLOB " "));
    struct upstream_stats st;
    upstream_stats(up, &st);
    assert_int_equal(st.requests, 5);
    assert_int_equal(st.sent, 5);
    assert_int_equal(st.active + st.waiting + st.failures, 0);
    assert_int_equal(st.remaining, -1);
    assert_true(st.reachable);
    assert_int_equal(atomic_load(&registry.connections), 1);
}

static bool by_path(struct script_server *s, int fd, const char *head) {
    (void)s;
    int status = atoi(strstr(head, "/app") + 4);
    const char *doc = "{\"errors\":[{\"code\":\"X\",\"message\":\"so it is\"}]}";
    script_say(fd, "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(doc), doc);
    return true;
}

static void upstream_answers_mean_what_they_say(void **state) {
    (void)state;
    stage(by_path);
    static const struct {
        const char *repo;
        int code, status, requests;
    } cases[] = {
        {"app404", ERR_NOT_FOUND, 404, 1},    {"app403", ERR_DENIED, 403, 1},   {"app401", ERR_DENIED, 401, 1},
        {"app429", ERR_RATE_LIMITED, 429, 1}, {"app500", ERR_UPSTREAM, 500, 3}, {"app503", ERR_UPSTREAM, 503, 3},
        {"app504", ERR_TIMEOUT, 504, 3},      {"app400", ERR_UPSTREAM, 400, 1}, {"app204", ERR_UPSTREAM, 204, 1},
        {"app206", ERR_UPSTREAM, 206, 1},     {"app501", ERR_UPSTREAM, 501, 1}, {"app304", ERR_UPSTREAM, 304, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int before = atomic_load(&registry.requests);
        struct probe p = {0};
        begin(&p, (struct fetch_request){.kind = FETCH_BLOB}, cases[i].repo);
        loop_run(loop);
        int sent = atomic_load(&registry.requests) - before;
        if (p.end.code != cases[i].code || p.end.status != cases[i].status || sent != cases[i].requests || p.heads)
            fail_msg("%s: code %d status %d after %d: %s", cases[i].repo, p.end.code, p.end.status, sent, p.end.msg);
        assert_non_null(strstr(p.end.msg, "test.example"));
        if (cases[i].status == 404) assert_non_null(strstr(p.end.msg, "so it is"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(upstream_asks_for_what_is_wanted),
        T(upstream_answers_mean_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
