/* Signing in to registries scripted here, good and hostile. */
#include "tests/unit/common/upstream/fixture.h"

static bool with_token(struct script_server *s, int fd, const char *head) {
    (void)s;
    char auth[256];
    if (strstr(head, "GET /token")) {
        keep(head);
        atomic_fetch_add(&tokens, 1);
        ok(fd, "", "{\"access_token\":\"t0ken\",\"expires_in\":300}");
    } else if (strcmp(script_header(head, "Authorization", auth, sizeof(auth)), "Bearer t0ken") == 0) {
        ok(fd, "", "signed");
    } else {
        atomic_fetch_add(&count, 1);
        ask_to_sign_in(fd, head);
    }
    return true;
}

static void upstream_fetches_a_token_and_keeps_it(void **state) {
    (void)state;
    stage(with_token);
    struct probe p = get(FETCH_MANIFEST);
    assert_string_equal(p.body, "signed");
    assert_non_null(strstr(seen, "GET /token?service=s%20v&scope=repository%3Alibrary%2Fapp%3Apull "));
    assert_null(strstr(seen, "Authorization"));
    p = get(FETCH_MANIFEST);
    assert_int_equal(atomic_load(&tokens), 1);
    assert_int_equal(atomic_load(&count), 1);
    /* Another repository's is fetched before it is asked for. */
    struct probe q = {0};
    begin(&q, (struct fetch_request){.kind = FETCH_MANIFEST}, "other/app");
    loop_run(loop);
    assert_string_equal(q.body, "signed");
    assert_int_equal(atomic_load(&tokens), 2);
    assert_int_equal(atomic_load(&count), 1);
}

static void upstream_fetches_one_token_for_many(void **state) {
    (void)state;
    cfg.max_parallel = 50;
    stage(with_token);
    static struct probe p[50];
    memset(p, 0, sizeof(p));
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        begin(&p[i], (struct fetch_request){.kind = FETCH_MANIFEST}, "library/app");
    loop_run(loop);
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        assert_string_equal(p[i].body, "signed");
    assert_int_equal(atomic_load(&tokens), 1);
}

static void write_password(char path[64], const char *text) {
    snprintf(path, 64, "/tmp/entrepot-password-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    cfg.username = (char *)(uintptr_t) "acme";
    cfg.password_file = path;
}

static void upstream_sends_the_account_to_the_token_service_only(void **state) {
    (void)state;
    char path[64];
    write_password(path, "  s3cret \r\nsecond line\n");
    stage(with_token);
    struct probe p = get(FETCH_MANIFEST);
    unlink(path);
    assert_string_equal(p.body, "signed");
    assert_non_null(strstr(seen, "Authorization: Basic YWNtZTpzM2NyZXQ=")); /* acme:s3cret */
}

static bool with_basic(struct script_server *s, int fd, const char *head) {
    (void)s;
    char auth[256];
    if (strcmp(script_header(head, "Authorization", auth, sizeof(auth)), "Basic YWNtZTpzM2NyZXQ=") == 0)
        ok(fd, "", "basic");
    else
        say_status(fd, 401, "WWW-Authenticate: Basic realm=\"x\"\r\n");
    return true;
}

static void upstream_signs_in_with_basic_when_asked(void **state) {
    (void)state;
    char path[64];
    write_password(path, "s3cret\n");
    stage(with_basic);
    struct probe p = get(FETCH_MANIFEST);
    assert_string_equal(p.body, "basic");
    p = get(FETCH_BLOB);
    assert_string_equal(p.body, "basic");
    assert_int_equal(atomic_load(&registry.requests), 3); /* asked once only */
    unlink(path);
    p = get(FETCH_BLOB); /* read at each use */
    assert_int_equal(p.end.code, ERR_UPSTREAM);
    assert_non_null(strstr(p.end.msg, path));
    upstream_free(up);
    cfg.username = cfg.password_file = NULL;
    open_up();
    p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_DENIED);
    assert_non_null(strstr(p.end.msg, "needs an account"));
}

/* It takes Basic first, and has moved to tokens since. */
static bool moves_to_bearer(struct script_server *s, int fd, const char *head) {
    char auth[256];
    keep(head);
    script_header(head, "Authorization", auth, sizeof(auth));
    if (atomic_load(&count) == 0) return with_basic(s, fd, head);
    if (strstr(head, "GET /token"))
        ok(fd, "", "{\"token\":\"t\"}");
    else if (strcmp(auth, "Bearer t") == 0)
        ok(fd, "", "bearer");
    else
        ask_to_sign_in(fd, head);
    return true;
}

static void upstream_follows_a_registry_from_basic_to_tokens(void **state) {
    (void)state;
    char path[64];
    write_password(path, "s3cret\n");
    stage(moves_to_bearer);
    assert_string_equal(get(FETCH_MANIFEST).body, "basic");
    atomic_store(&count, 1);
    assert_string_equal(get(FETCH_MANIFEST).body, "bearer");
    int before = atomic_load(&registry.requests);
    assert_string_equal(get(FETCH_MANIFEST).body, "bearer");
    assert_int_equal(atomic_load(&registry.requests), before + 1); /* at once */
    unlink(path);
}

static bool never_satisfied(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "GET /token"))
        ok(fd, "", "{\"token\":\"t\"}");
    else
        ask_to_sign_in(fd, head);
    return true;
}

static void upstream_stops_when_a_fresh_token_is_refused(void **state) {
    (void)state;
    stage(never_satisfied);
    struct probe p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_DENIED);
    assert_int_equal(p.end.status, 401);
    assert_int_equal(atomic_load(&registry.requests), 3); /* no token, token, refused */
    p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_DENIED);
    assert_int_equal(atomic_load(&registry.requests), 5);
}

static bool ever_another(struct script_server *s, int fd, const char *head) {
    (void)s;
    char line[256];
    if (strstr(head, "GET /token")) {
        ok(fd, "", "{\"token\":\"t\"}");
        return true;
    }
    snprintf(line, sizeof(line), "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\",scope=\"x:%d\"\r\n",
             registry.port, atomic_fetch_add(&count, 1));
    say_status(fd, 401, line);
    return true;
}

static void upstream_does_not_run_after_ever_other_challenges(void **state) {
    (void)state;
    stage(ever_another);
    struct probe p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_DENIED);
    assert_true(atomic_load(&registry.requests) <= 6);
}

/* By way of a service that denies everything, until count says otherwise. */
static bool another_service(struct script_server *s, int fd, const char *head) {
    (void)s;
    char auth[64], line[128];
    if (strstr(head, "GET /old")) {
        say_status(fd, 403, "");
    } else if (strstr(head, "GET /token")) {
        ok(fd, "", "{\"token\":\"t0ken\"}");
    } else if (strcmp(script_header(head, "Authorization", auth, sizeof(auth)), "Bearer t0ken") == 0) {
        ok(fd, "", "signed");
    } else {
        snprintf(line, sizeof(line), "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/%s\"\r\n", registry.port,
                 atomic_load(&count) ? "token" : "old");
        say_status(fd, 401, line);
    }
    return true;
}

static void upstream_does_not_hold_on_to_a_token_service_that_denies(void **state) {
    (void)state;
    stage(another_service);
    struct probe p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_DENIED);
    atomic_store(&registry.requests, 0);
    p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_DENIED);
    assert_true(atomic_load(&registry.requests) <= 3);
    atomic_store(&count, 1);
    p = get(FETCH_MANIFEST);
    assert_string_equal(p.body, "signed");
}

static bool refresh(struct script_server *s, int fd, const char *head) {
    (void)s;
    char auth[64], want[64];
    if (strstr(head, "GET /token")) {
        char body[64];
        snprintf(body, sizeof(body), "{\"token\":\"t%d\",\"expires_in\":3600}", atomic_fetch_add(&tokens, 1) + 1);
        ok(fd, "", body);
        return true;
    }
    snprintf(want, sizeof(want), "Bearer t%d", atomic_load(&count)); /* the only one it takes now */
    if (strcmp(script_header(head, "Authorization", auth, sizeof(auth)), want) == 0)
        ok(fd, "", "good");
    else
        ask_to_sign_in(fd, head);
    return true;
}

static void upstream_renews_a_token_that_is_no_longer_taken(void **state) {
    (void)state;
    stage(refresh);
    for (int i = 1; i <= 2; i++) {
        atomic_store(&count, i);
        struct probe p = get(FETCH_MANIFEST);
        assert_string_equal(p.body, "good");
        assert_int_equal(atomic_load(&tokens), i);
    }
}

/* What the hostile token service does is in the repository's name. */
static char realm[256];
static bool hostile(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "GET /token")) {
        char *big = malloc(1100000);
        if (!big) abort();
        atomic_fetch_add(&tokens, 1);
        char *body = big;
        memset(big, 'a', 1100000);
        if (strstr(head, "mega")) {
            memcpy(big, "{\"token\":\"", 10);
            memcpy(big + 1048576, "\"}", 3);
        } else if (strstr(head, "long")) {
            memcpy(big, "{\"token\":\"", 10);
            memcpy(big + 20000, "\"}", 3);
        } else if (strstr(head, "lines")) {
            body = strcpy(big, "{\"token\":\"a\\r\\nX-Evil: 1\"}");
        } else if (strstr(head, "nojson")) {
            body = strcpy(big, "<html>");
        } else if (strstr(head, "empty")) {
            body = strcpy(big, "{}");
        } else if (strstr(head, "fails") || strstr(head, "denies")) {
            free(big);
            say_status(fd, strstr(head, "fails") ? 500 : 403, "");
            return true;
        }
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", strlen(body));
        script_send(fd, body, strlen(body));
        free(big);
        return true;
    }
    char line[512];
    snprintf(line, sizeof(line), "WWW-Authenticate: Bearer realm=\"%s\"\r\n", realm);
    say_status(fd, 401, line);
    return true;
}

static void upstream_withstands_hostile_token_services(void **state) {
    (void)state;
    stage(hostile);
    char own[64];
    snprintf(own, sizeof(own), "http://127.0.0.1:%u/token", registry.port);
    const struct {
        const char *repo, *realm;
        int code, asked;
    } cases[] = {
        {"mega", own, ERR_TOO_BIG, 0},
        {"long", own, ERR_UPSTREAM, 0},
        {"lines", own, ERR_UPSTREAM, 0},
        {"nojson", own, ERR_UPSTREAM, 0},
        {"empty", own, ERR_UPSTREAM, 0},
        {"fails", own, ERR_UPSTREAM, 0},
        {"denies", own, ERR_DENIED, 0},
        {"metadata", "http://169.254.169.254/token", ERR_UPSTREAM, 1},
        {"mapped", "http://[::ffff:169.254.169.254]/token", ERR_UPSTREAM, 1},
        {"file", "file:///etc/passwd", ERR_UPSTREAM, 1},
        {"cred", "http://u:p@127.0.0.1/token", ERR_UPSTREAM, 1},
        {"multicast", "http://224.0.0.1/token", ERR_UPSTREAM, 1},
        {"signed", "http://127.0.0.1/token?signature=s3cret#x", ERR_UPSTREAM, 1},
        {"signed", "ftp://127.0.0.1/token?signature=s3cret", ERR_UPSTREAM, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(realm, sizeof(realm), "%s", cases[i].realm);
        atomic_store(&tokens, 0);
        upstream_free(up); /* what it has learnt is forgotten */
        open_up();
        struct probe p = {0};
        begin(&p, (struct fetch_request){.kind = FETCH_MANIFEST}, cases[i].repo);
        loop_run(loop);
        if (p.end.code != cases[i].code) fail_msg("%s: %d %s", cases[i].repo, p.end.code, p.end.msg);
        assert_null(strstr(p.end.msg, "s3cret"));
        if (cases[i].asked) assert_int_equal(atomic_load(&tokens), 0);
        assert_true(atomic_load(&tokens) <= 6);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(upstream_fetches_a_token_and_keeps_it),
        T(upstream_fetches_one_token_for_many),
        T(upstream_sends_the_account_to_the_token_service_only),
        T(upstream_signs_in_with_basic_when_asked),
        T(upstream_follows_a_registry_from_basic_to_tokens),
        T(upstream_stops_when_a_fresh_token_is_refused),
        T(upstream_does_not_run_after_ever_other_challenges),
        T(upstream_does_not_hold_on_to_a_token_service_that_denies),
        T(upstream_renews_a_token_that_is_no_longer_taken),
        T(upstream_withstands_hostile_token_services),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
