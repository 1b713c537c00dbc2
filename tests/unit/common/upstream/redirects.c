/* Where a registry sends us, and what goes along. */
#include "tests/unit/common/upstream/fixture.h"

static bool cdn(struct script_server *s, int fd, const char *head) {
    (void)s;
    keep(head);
    if (strstr(head, "/403") || (strstr(head, "/once") && atomic_fetch_add(&count, 1) == 0))
        say_status(fd, 403, "");
    else if (strstr(head, "/getonly") && strncmp(head, "HEAD", 4) == 0)
        say_status(fd, 403, "");
    else if (strstr(head, "Range: bytes=0-0"))
        script_say(fd, "HTTP/1.1 206 X\r\nContent-Range: bytes 0-0/77\r\nContent-Length: 1\r\n\r\nx");
    else
        ok(fd, "", "from cdn");
    return true;
}

static bool redirecting(struct script_server *s, int fd, const char *head) {
    (void)s;
    char line[256], auth[64];
    script_header(head, "Authorization", auth, sizeof(auth));
    if (strstr(head, "GET /token")) {
        ok(fd, "", "{\"token\":\"t\"}");
        return true;
    }
    if (!auth[0]) {
        snprintf(line, sizeof(line), "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\"\r\n", registry.port);
        say_status(fd, 401, line);
        return true;
    }
    if (strstr(head, "/loop")) {
        snprintf(line, sizeof(line), "Location: /loop/x\r\n");
    } else if (strstr(head, "/metadata")) {
        snprintf(line, sizeof(line), "Location: http://169.254.169.254/latest\r\n");
    } else if (strstr(head, "/ftp")) {
        snprintf(line, sizeof(line), "Location: ftp://127.0.0.1/x\r\n");
    } else if (strstr(head, "/nowhere")) {
        line[0] = '\0';
    } else if (strstr(head, "/own/")) {
        snprintf(line, sizeof(line), "Location: /here/x\r\n");
    } else if (strstr(head, "/here/")) {
        ok(fd, "", auth);
        return true;
    } else {
        const char *name = strstr(head, "/v2/") + 4;
        snprintf(line, sizeof(line), "Location: http://127.0.0.1:%u/%.*s?sig=1\r\n", other.port,
                 (int)strcspn(name, "/"), name);
    }
    say_status(fd, 307, line);
    return true;
}

static void upstream_follows_redirects_without_leaking_the_token(void **state) {
    (void)state;
    script_start(&other, cdn, NULL);
    stage(redirecting);
    struct probe p = {0}, own = {0}, m = {0};
    begin(&p, (struct fetch_request){.kind = FETCH_BLOB}, "good");
    loop_run(loop);
    assert_string_equal(p.body, "from cdn");
    assert_non_null(strstr(seen, "GET /good?sig=1 "));
    assert_null(strstr(seen, "Authorization"));
    begin(&own, (struct fetch_request){.kind = FETCH_BLOB}, "own");
    loop_run(loop);
    assert_string_equal(own.body, "Bearer t"); /* within the registry it goes along */
    begin(&m, (struct fetch_request){.kind = FETCH_MANIFEST}, "good");
    loop_run(loop);
    assert_string_equal(m.body, "from cdn");
    assert_non_null(strstr(seen, "Accept: "));
}

static void upstream_refuses_bad_redirects(void **state) {
    (void)state;
    script_start(&other, cdn, NULL);
    stage(redirecting);
    static const char *const repos[] = {"loop", "metadata", "ftp", "nowhere"};
    for (size_t i = 0; i < ARRAY_LEN(repos); i++) {
        int before = atomic_load(&registry.requests);
        struct probe p = {0};
        begin(&p, (struct fetch_request){.kind = FETCH_BLOB}, repos[i]);
        loop_run(loop);
        if (p.end.code != ERR_UPSTREAM) fail_msg("%s: %d %s", repos[i], p.end.code, p.end.msg);
        assert_true(atomic_load(&registry.requests) - before <= 8);
    }
    assert_int_equal(atomic_load(&other.requests), 0);
}

static void upstream_starts_again_once_when_a_signed_url_has_run_out(void **state) {
    (void)state;
    script_start(&other, cdn, NULL);
    stage(redirecting);
    struct probe once = {0}, always = {0};
    begin(&once, (struct fetch_request){.kind = FETCH_BLOB}, "once");
    loop_run(loop);
    assert_string_equal(once.body, "from cdn");
    assert_int_equal(atomic_load(&other.requests), 2);
    begin(&always, (struct fetch_request){.kind = FETCH_BLOB}, "403");
    loop_run(loop);
    assert_int_equal(always.end.code, ERR_DENIED);
    assert_int_equal(atomic_load(&other.requests), 4);
}

static void upstream_asks_by_get_where_head_is_not_signed_for(void **state) {
    (void)state;
    script_start(&other, cdn, NULL);
    stage(redirecting);
    struct probe p = {0};
    begin(&p, (struct fetch_request){.kind = FETCH_BLOB_HEAD}, "getonly");
    loop_run(loop);
    assert_int_equal(p.end.code, 0);
    assert_int_equal(p.head.total, 77);
    assert_int_equal(p.bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(upstream_follows_redirects_without_leaking_the_token),
        T(upstream_refuses_bad_redirects),
        T(upstream_starts_again_once_when_a_signed_url_has_run_out),
        T(upstream_asks_by_get_where_head_is_not_signed_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
