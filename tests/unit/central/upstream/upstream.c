/* An upstream against registries scripted here, good, faulty and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "central/upstream/upstream.h"
#include "common/core/clock.h"
#include "tests/unit/support/scripted_server.h"

#define BLOB "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct loop *loop;
static struct http_client *client;
static struct upstream *up;
static struct script_server registry, other;
static char *endpoints[2];
static char endpoint_text[2][64];
static struct upstream_config cfg;
static struct upstream_limits limits;
static atomic_int tokens, count, now_in, most_in;
static char seen[4096]; /* the last request's head */
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- one fetch and what came of it --- */

struct probe {
    struct fetch *fetch;
    int heads, dones, parts;
    struct fetch_head head;
    struct fetch_end end;
    char body[256];
    int64_t bytes;
    bool cancel_in_head, cancel_in_data, pause_in_data;
    struct probe *cancel_other;
};
static int running;

static void over(struct probe *p) {
    p->fetch = NULL;
    if (--running == 0) loop_stop(loop);
}

static void on_head(struct fetch *f, const struct fetch_head *h, void *arg) {
    struct probe *p = arg;
    assert_ptr_equal(f, p->fetch);
    p->heads++;
    p->head = *h;
    if (!p->cancel_in_head) return;
    fetch_cancel(f);
    over(p);
}

static void on_data(struct fetch *f, const void *data, size_t len, void *arg) {
    struct probe *p = arg;
    p->parts++;
    for (size_t i = 0; i < len && p->bytes + (int64_t)i < (int64_t)sizeof(p->body) - 1; i++)
        p->body[p->bytes + (int64_t)i] = ((const char *)data)[i];
    p->bytes += (int64_t)len;
    if (p->pause_in_data) {
        fetch_pause(f);
        loop_stop(loop);
    }
    if (p->cancel_other && p->cancel_other->fetch) {
        fetch_cancel(p->cancel_other->fetch);
        over(p->cancel_other);
    }
    if (!p->cancel_in_data) return;
    fetch_cancel(f);
    over(p);
}

static void on_done(struct fetch *f, const struct fetch_end *e, void *arg) {
    struct probe *p = arg;
    p->dones++;
    p->end = *e;
    fetch_cancel(f); /* allowed, and nothing */
    over(p);
}

static const struct fetch_events events = {.head = on_head, .data = on_data, .done = on_done};

static void begin(struct probe *p, struct fetch_request rq, const char *repo) {
    snprintf(rq.repo.upstream, sizeof(rq.repo.upstream), "test.example");
    snprintf(rq.repo.path, sizeof(rq.repo.path), "%s", repo);
    if (rq.kind == FETCH_BLOB || rq.kind == FETCH_BLOB_HEAD || rq.kind == FETCH_REFERRERS)
        assert_int_equal(reference_parse(&rq.ref, BLOB, strlen(BLOB)), 0);
    else
        assert_int_equal(reference_parse(&rq.ref, "v1", 2), 0);
    snprintf(rq.request_id, sizeof(rq.request_id), "id-7");
    running++;
    p->fetch = fetch_start(upstream_source(up), &rq, &events, p);
    assert_int_equal(p->heads + p->dones, 0);
}

static struct probe fetch_of(struct fetch_request rq) {
    struct probe p = {0};
    begin(&p, rq, "library/app");
    loop_run(loop);
    assert_int_equal(p.dones, 1);
    return p;
}

static struct probe get(enum fetch_kind kind) {
    return fetch_of((struct fetch_request){.kind = kind});
}

/* --- the stage --- */

static void keep(const char *head) {
    pthread_mutex_lock(&seen_lock);
    snprintf(seen, sizeof(seen), "%s", head);
    pthread_mutex_unlock(&seen_lock);
}

static void open_up(void) {
    if (!cfg.n_endpoints) {
        snprintf(endpoint_text[0], sizeof(endpoint_text[0]), "http://127.0.0.1:%u", registry.port);
        cfg.n_endpoints = 1;
    }
    for (size_t i = 0; i < cfg.n_endpoints; i++)
        endpoints[i] = endpoint_text[i];
    cfg.endpoints = endpoints;
    up = upstream_new(&cfg, &limits, loop, client);
}

static void stage(bool (*handle)(struct script_server *s, int fd, const char *head)) {
    script_start(&registry, handle, NULL);
    open_up();
}

static int set_up(void **state) {
    (void)state;
    loop = loop_new("fetch");
    client = http_client_new(loop);
    cfg = (struct upstream_config){.name = (char *)(uintptr_t) "test.example", .max_parallel = 16};
    limits = upstream_limits_default;
    limits.back_off_ms = 10;
    limits.down_after_ms = 0;
    limits.probe_ms = 10;
    atomic_store(&tokens, 0);
    atomic_store(&count, 0);
    atomic_store(&now_in, 0);
    atomic_store(&most_in, 0);
    running = 0;
    seen[0] = '\0';
    memset(&registry, 0, sizeof(registry));
    memset(&other, 0, sizeof(other));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    upstream_free(up);
    http_client_free(client);
    if (registry.handle) script_stop(&registry);
    if (other.handle) script_stop(&other);
    loop_free(loop);
    return 0;
}

static void ok(int fd, const char *headers, const char *body) {
    script_say(fd, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n%s", headers, strlen(body), body);
}

static void say_status(int fd, int status, const char *headers) {
    script_say(fd, "HTTP/1.1 %d Status\r\n%sContent-Length: 0\r\n\r\n", status, headers);
}

/* --- plain requests --- */

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
        {"app206", ERR_UPSTREAM, 206, 1},     {"app304", ERR_UPSTREAM, 304, 1},
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

/* --- sign-in --- */

static void ask_to_sign_in(int fd, const char *head) {
    char scope[128];
    const char *repo = strstr(head, "/v2/") + 4;
    snprintf(scope, sizeof(scope), "repository:%.*s:pull", (int)(strstr(repo, "/manifests") - repo), repo);
    char line[512];
    snprintf(line, sizeof(line),
             "WWW-Authenticate: Bearer realm=\"http://127.0.0.1:%u/token\",service=\"s v\",scope=\"%s\"\r\n",
             registry.port, scope);
    say_status(fd, 401, line);
}

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
    assert_int_equal(p.end.code, ERR_DENIED);
    assert_non_null(strstr(p.end.msg, path));
    upstream_free(up);
    cfg.username = cfg.password_file = NULL;
    open_up();
    p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_DENIED);
    assert_non_null(strstr(p.end.msg, "needs an account"));
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
        if (cases[i].asked) assert_int_equal(atomic_load(&tokens), 0);
        assert_true(atomic_load(&tokens) <= 6);
    }
}

/* --- redirects --- */

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

/* --- parts --- */

static const char *part_answer;
static bool part(struct script_server *s, int fd, const char *head) {
    (void)s;
    keep(head);
    script_say(fd, "%s", part_answer);
    return false;
}

static void upstream_gives_the_very_part_that_was_asked_for(void **state) {
    (void)state;
    stage(part);
    static const struct {
        int64_t offset, length;
        const char *range, *answer;
        int code;
        const char *body;
    } cases[] = {
        {4, 0, "bytes=4-", "HTTP/1.1 206 P\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\n456789", 0,
         "456789"},
        {4, 3, "bytes=4-6", "HTTP/1.1 206 P\r\nContent-Range: bytes 4-6/10\r\nContent-Length: 3\r\n\r\n456", 0, "456"},
        {8, 5, "bytes=8-12", "HTTP/1.1 206 P\r\nContent-Range: bytes 8-9/10\r\nContent-Length: 2\r\n\r\n89", 0, "89"},
        {4, 3, "bytes=4-6", "HTTP/1.1 206 P\r\nContent-Range: bytes 4-6/*\r\nContent-Length: 3\r\n\r\n456", 0, "456"},
        {4, 0, "bytes=4-", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", 0, "456789"},
        {4, 3, "bytes=4-6", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", 0, "456"},
        {0, 3, "bytes=0-2", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", 0, "012"},
        {4, 0, "bytes=4-", "HTTP/1.1 200 OK\r\n\r\n0123456789", 0, "456789"},
        {4, 0, "bytes=4-", "HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/10\r\nContent-Length: 10\r\n\r\n0123456789",
         ERR_UPSTREAM, ""},
        {4, 3, "bytes=4-6", "HTTP/1.1 206 P\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\n456789",
         ERR_UPSTREAM, ""},
        {4, 0, "bytes=4-", "HTTP/1.1 206 P\r\nContent-Range: bytes 4-6/10\r\nContent-Length: 3\r\n\r\n456",
         ERR_UPSTREAM, ""},
        {4, 0, "bytes=4-", "HTTP/1.1 206 P\r\nContent-Length: 6\r\n\r\n456789", ERR_UPSTREAM, ""},
        {4, 0, "bytes=4-", "HTTP/1.1 206 P\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 3\r\n\r\n456",
         ERR_UPSTREAM, ""},
        {4, 0, "bytes=4-", "HTTP/1.1 206 P\r\nContent-Range: lines 4-9/10\r\nContent-Length: 6\r\n\r\n456789",
         ERR_UPSTREAM, ""},
        {4, 0, "bytes=4-", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n012", ERR_UPSTREAM, ""},
        {4, 0, "bytes=4-", "HTTP/1.1 200 OK\r\n\r\n012", ERR_UPSTREAM, ""},
        {4, 0, "bytes=4-",
         "HTTP/1.1 206 P\r\nContent-Range: bytes 4-9/10\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n456\r\n0\r\n\r\n",
         ERR_UPSTREAM, "456"},
        {0, 0, "", "HTTP/1.1 206 P\r\nContent-Range: bytes 0-2/10\r\nContent-Length: 3\r\n\r\n012", ERR_UPSTREAM, ""},
        {0, 0, "", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n012", ERR_UPSTREAM, ""},
        {0, 0, "", "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 3\r\n\r\n012", 0, "012"},
        {0, 0, "", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012", ERR_UPSTREAM, "012"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        part_answer = cases[i].answer;
        struct probe p =
            fetch_of((struct fetch_request){.kind = FETCH_BLOB, .offset = cases[i].offset, .length = cases[i].length});
        char range[64];
        script_header(seen, "Range", range, sizeof(range));
        if (p.end.code != cases[i].code || strcmp(p.body, cases[i].body) != 0 || strcmp(range, cases[i].range) != 0)
            fail_msg("case %zu: %d \"%s\" %s: %s", i, p.end.code, p.body, range, p.end.msg);
    }
}

static void upstream_limits_bodies(void **state) {
    (void)state;
    stage(part);
    part_answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
    struct probe p = fetch_of((struct fetch_request){.kind = FETCH_MANIFEST, .max_body = 9});
    assert_int_equal(p.end.code, ERR_TOO_BIG);
    assert_int_equal(atomic_load(&registry.requests), 1);
    p = fetch_of((struct fetch_request){.kind = FETCH_BLOB, .max_body = 6, .offset = 4});
    assert_int_equal(p.end.code, 0);
    part_answer = "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n";
    p = get(FETCH_MANIFEST); /* even if the caller sets none */
    assert_int_equal(p.end.code, ERR_TOO_BIG);
}

/* --- retries --- */

static bool flaky(struct script_server *s, int fd, const char *head) {
    (void)s;
    int n = atomic_fetch_add(&count, 1);
    if (strstr(head, "/reset") && n < 2) {
        script_reset(fd);
        return false;
    }
    if (strstr(head, "/five") && n < 2) {
        say_status(fd, 500, "");
        return true;
    }
    if (strstr(head, "/headonly") && n == 0) {
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
        return false;
    }
    if (strstr(head, "/changes") && n == 0) {
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
        return false;
    }
    if (strstr(head, "/middle")) {
        script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbet");
        return false;
    }
    if (strstr(head, "/soon") && n == 0) {
        say_status(fd, 429, "Retry-After: 1\r\n");
        return true;
    }
    if (strstr(head, "/busy") && n == 0) {
        say_status(fd, 503, "Retry-After: 1\r\n");
        return true;
    }
    if (strstr(head, "/later")) {
        say_status(fd, 503, "Retry-After: 100\r\n");
        return true;
    }
    ok(fd, "", "better");
    return true;
}

static void upstream_tries_again_only_while_nothing_was_told(void **state) {
    (void)state;
    static const struct {
        const char *repo;
        int code, requests;
        const char *body;
    } cases[] = {
        {"reset", 0, 3, "better"},      {"five", 0, 3, "better"},         {"headonly", 0, 2, "better"},
        {"soon", 0, 2, "better"},       {"busy", 0, 2, "better"},         {"middle", ERR_UPSTREAM, 1, "bet"},
        {"later", ERR_UPSTREAM, 1, ""}, {"changes", ERR_MISMATCH, 2, ""},
    };
    stage(flaky);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        atomic_store(&count, 0);
        struct probe p = {0};
        int64_t began = clock_mono_ms();
        begin(&p, (struct fetch_request){.kind = FETCH_BLOB}, cases[i].repo);
        loop_run(loop);
        int64_t took = clock_mono_ms() - began;
        if (p.end.code != cases[i].code || strcmp(p.body, cases[i].body) != 0 ||
            atomic_load(&count) != cases[i].requests || p.heads > 1)
            fail_msg("%s: %d \"%s\" after %d: %s", cases[i].repo, p.end.code, p.body, atomic_load(&count), p.end.msg);
        bool waits = strcmp(cases[i].repo, "soon") == 0 || strcmp(cases[i].repo, "busy") == 0;
        assert_true(waits ? took >= 1000 : took < 1000);
    }
}

static bool silent(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "/half")) script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbet");
    if (strstr(head, "/drip")) script_say(fd, "HTTP/1.1 404 No\r\nContent-Length: 6\r\n\r\nbet");
    script_wait_closed(fd);
    return false;
}

static void upstream_never_waits_for_ever(void **state) {
    (void)state;
    limits.head_ms = 60;
    limits.stall_ms = 60;
    limits.budget_ms = 150;
    stage(silent);
    struct probe p = get(FETCH_MANIFEST), half = {0};
    assert_int_equal(p.end.code, ERR_TIMEOUT);
    upstream_free(up); /* it is down by now */
    open_up();
    begin(&half, (struct fetch_request){.kind = FETCH_BLOB}, "half");
    loop_run(loop);
    assert_int_equal(half.end.code, ERR_TIMEOUT);
    assert_string_equal(half.body, "bet");
}

/* --- limits of the registry --- */

static bool limited(struct script_server *s, int fd, const char *head) {
    (void)s;
    atomic_fetch_add(&count, 1);
    if (strstr(head, "/told"))
        say_status(fd, 429, "Retry-After: 60\r\n");
    else if (strstr(head, "/untold"))
        say_status(fd, 429, "");
    else if (strncmp(head, "HEAD", 4) == 0)
        ok(fd, "RateLimit-Limit: 100;w=21600\r\nRateLimit-Remaining: 3;w=21600\r\n", "");
    else
        ok(fd, "RateLimit-Limit: 100;w=21600\r\nRateLimit-Remaining: 0;w=21600\r\n", "last");
    return true;
}

static void upstream_respects_the_pull_limit(void **state) {
    (void)state;
    stage(limited);
    struct upstream_stats st;
    struct probe p = get(FETCH_MANIFEST);
    assert_string_equal(p.body, "last");
    upstream_stats(up, &st);
    assert_int_equal(st.limit, 100);
    assert_int_equal(st.remaining, 0);
    assert_int_equal(st.window_s, 21600);
    p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_RATE_LIMITED);
    assert_true(p.end.retry_after_s > 21500 && p.end.retry_after_s <= 21600);
    assert_int_equal(atomic_load(&count), 1); /* not sent */
    p = get(FETCH_MANIFEST_HEAD);             /* costs nothing, and shows that there is more again */
    assert_int_equal(p.end.code, 0);
    p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, 0);
    upstream_stats(up, &st);
    assert_int_equal(st.rate_limited, 1);
}

static void upstream_tells_when_to_come_again(void **state) {
    (void)state;
    stage(limited);
    struct probe untold = {0}, told = {0}, blob = {0};
    begin(&untold, (struct fetch_request){.kind = FETCH_MANIFEST}, "untold");
    loop_run(loop);
    assert_int_equal(untold.end.code, ERR_RATE_LIMITED);
    assert_int_equal(untold.end.retry_after_s, 0);
    begin(&told, (struct fetch_request){.kind = FETCH_MANIFEST}, "told");
    loop_run(loop);
    assert_int_equal(told.end.code, ERR_RATE_LIMITED);
    assert_int_equal(told.end.retry_after_s, 60);
    struct probe p = get(FETCH_MANIFEST);
    assert_int_equal(p.end.code, ERR_RATE_LIMITED);
    assert_int_equal(atomic_load(&count), 2);
    begin(&blob, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    loop_run(loop);
    assert_int_equal(blob.end.code, 0); /* blobs are not counted */
}

/* --- endpoints --- */

static void upstream_that_is_down_is_not_waited_for_and_found_again(void **state) {
    (void)state;
    script_start(&registry, plain, NULL);
    unsigned port = registry.port;
    script_stop(&registry);
    open_up();
    struct probe p = get(FETCH_BLOB);
    assert_int_equal(p.end.code, ERR_UNREACHABLE);
    assert_non_null(strstr(p.end.msg, "Connection refused"));
    struct upstream_stats st;
    upstream_stats(up, &st);
    assert_false(st.reachable);
    int64_t sent = st.sent;
    p = get(FETCH_BLOB);
    assert_int_equal(p.end.code, ERR_UNREACHABLE);
    assert_non_null(strstr(p.end.msg, "Connection refused"));
    upstream_stats(up, &st);
    assert_int_equal(st.sent, sent); /* at once */
    script_start_at(&registry, port, plain, NULL);
    do { /* until a probe in the background has found it */
        p = get(FETCH_BLOB);
    } while (p.end.code == ERR_UNREACHABLE);
    assert_string_equal(p.body, "hello");
    struct upstream_endpoint_state ends[UPSTREAM_ENDPOINTS_MAX];
    assert_int_equal(upstream_endpoints(up, ends), 1);
    assert_true(ends[0].up);
    assert_true(ends[0].failures >= 2 && ends[0].latency_us > 0);
    assert_non_null(strstr(ends[0].last_error, "Connection refused"));
}

static bool second(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "/lacks"))
        say_status(fd, 404, "");
    else
        ok(fd, "", "second");
    return true;
}

static bool first(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "/sick"))
        say_status(fd, 502, "");
    else if (strstr(head, "/lacks") || strstr(head, "/mine"))
        say_status(fd, 404, "");
    else if (strstr(head, "/locked"))
        say_status(fd, 401, "");
    else
        ok(fd, "", "first");
    return true;
}

static void two_endpoints(void) {
    script_start(&other, second, NULL);
    snprintf(endpoint_text[0], sizeof(endpoint_text[0]), "http://127.0.0.1:%u", registry.port);
    snprintf(endpoint_text[1], sizeof(endpoint_text[1]), "http://127.0.0.1:%u", other.port);
    cfg.n_endpoints = 2;
    open_up();
}

static void upstream_asks_the_next_endpoint(void **state) {
    (void)state;
    script_start(&registry, first, NULL);
    two_endpoints();
    static const struct {
        const char *repo;
        int code;
        const char *body;
    } cases[] = {{"app", 0, "first"},
                 {"mine", 0, "second"},
                 {"locked", 0, "second"},
                 {"lacks", ERR_NOT_FOUND, ""},
                 {"sick", 0, "second"}};
    /* The second has no speed yet and would be measured first. */
    struct probe warm = {0};
    begin(&warm, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    loop_run(loop);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct probe p = {0};
        begin(&p, (struct fetch_request){.kind = FETCH_BLOB}, cases[i].repo);
        loop_run(loop);
        bool any = strcmp(cases[i].repo, "app") == 0; /* whichever is faster */
        if (p.end.code != cases[i].code || (!any && strcmp(p.body, cases[i].body) != 0))
            fail_msg("%s: %d \"%s\" %s", cases[i].repo, p.end.code, p.body, p.end.msg);
    }
}

static void upstream_leaves_a_dead_endpoint_alone(void **state) {
    (void)state;
    script_start(&registry, first, NULL);
    unsigned port = registry.port;
    script_stop(&registry);
    memset(&registry, 0, sizeof(registry));
    registry.port = port;
    limits.probe_ms = 60000;
    two_endpoints();
    for (int i = 0; i < 5; i++) {
        struct probe p = get(FETCH_BLOB);
        assert_string_equal(p.body, "second");
    }
    struct upstream_stats st;
    upstream_stats(up, &st);
    assert_true(st.sent <= 6); /* the dead one was tried once */
    assert_true(st.reachable);
}

static bool slow(struct script_server *s, int fd, const char *head) {
    (void)s;
    (void)head;
    usleep(30000);
    ok(fd, "", "slow");
    return true;
}

static void upstream_prefers_the_faster_endpoint(void **state) {
    (void)state;
    script_start(&registry, slow, NULL);
    two_endpoints();
    for (int i = 0; i < 3; i++)
        (void)get(FETCH_BLOB);
    struct probe p = get(FETCH_BLOB);
    assert_string_equal(p.body, "second");
}

/* --- parallel requests, pauses, cancels --- */

static bool crowded(struct script_server *s, int fd, const char *head) {
    (void)s;
    int n = atomic_fetch_add(&now_in, 1) + 1, most = atomic_load(&most_in);
    while (n > most && !atomic_compare_exchange_weak(&most_in, &most, n)) {}
    usleep(2000);
    atomic_fetch_sub(&now_in, 1);
    ok(fd, "", strstr(head, "/blobs/") ? "blob" : "small");
    return true;
}

static void upstream_keeps_to_its_cap_in_order(void **state) {
    (void)state;
    cfg.max_parallel = 4;
    stage(crowded);
    static struct probe p[30];
    memset(p, 0, sizeof(p));
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        begin(&p[i], (struct fetch_request){.kind = FETCH_BLOB}, "app");
    struct upstream_stats st;
    upstream_stats(up, &st);
    assert_int_equal(st.active, 3); /* one slot is left to small requests */
    assert_int_equal(st.waiting, 27);
    struct probe m = {0};
    begin(&m, (struct fetch_request){.kind = FETCH_MANIFEST}, "app");
    upstream_stats(up, &st);
    assert_int_equal(st.active, 4);
    fetch_cancel(p[29].fetch); /* while it waits */
    over(&p[29]);
    loop_run(loop);
    for (size_t i = 0; i < ARRAY_LEN(p) - 1; i++)
        assert_string_equal(p[i].body, "blob");
    assert_string_equal(m.body, "small");
    assert_true(atomic_load(&most_in) <= 4);
    upstream_stats(up, &st);
    assert_int_equal(st.active + st.waiting, 0);
}

static bool big(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "/wait")) {
        script_wait_closed(fd);
        return false;
    }
    static char block[65536];
    script_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 64 * 65536);
    for (int i = 0; i < 64; i++)
        script_send(fd, block, sizeof(block));
    return true;
}

static void upstream_pauses_and_resumes(void **state) {
    (void)state;
    limits.stall_ms = 100;
    stage(big);
    struct probe p = {.pause_in_data = true}, small = {0};
    begin(&p, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    loop_run(loop);
    assert_int_equal(p.parts, 1);
    running = 0; /* others go on meanwhile */
    begin(&small, (struct fetch_request){.kind = FETCH_BLOB}, "other");
    loop_run(loop);
    running = 1;
    assert_int_equal(small.bytes, 64 * 65536);
    assert_int_equal(p.parts, 1);
    p.pause_in_data = false;
    fetch_resume(p.fetch);
    assert_int_equal(p.parts, 1);
    loop_run(loop);
    assert_int_equal(p.end.code, 0);
    assert_int_equal(p.bytes, 64 * 65536);
    struct probe early = {0};
    begin(&early, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    fetch_pause(early.fetch);
    fetch_resume(early.fetch);
    loop_run(loop);
    assert_int_equal(early.bytes, 64 * 65536);
}

static void upstream_cancels_in_every_state(void **state) {
    (void)state;
    cfg.max_parallel = 4;
    stage(big);
    struct probe fresh = {0}, in_head = {.cancel_in_head = true}, in_data = {.cancel_in_data = true}, waiting = {0};
    begin(&fresh, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    fetch_cancel(fresh.fetch);
    over(&fresh);
    begin(&in_head, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    begin(&in_data, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    loop_run(loop);
    begin(&waiting, (struct fetch_request){.kind = FETCH_MANIFEST}, "wait");
    struct probe killer = {.cancel_other = &waiting};
    begin(&killer, (struct fetch_request){.kind = FETCH_BLOB}, "app");
    loop_run(loop);
    assert_int_equal(fresh.dones + in_head.dones + in_data.dones + waiting.dones, 0);
    assert_int_equal(killer.dones, 1);
    struct upstream_stats st;
    upstream_stats(up, &st);
    assert_int_equal(st.active + st.waiting, 0);
    static struct probe left[10]; /* upstream_free ends them, running and waiting */
    memset(left, 0, sizeof(left));
    for (size_t i = 0; i < ARRAY_LEN(left); i++)
        begin(&left[i], (struct fetch_request){.kind = FETCH_BLOB}, "wait");
    running = 0;
}

static bool token_never_comes(struct script_server *s, int fd, const char *head) {
    (void)s;
    if (strstr(head, "GET /token")) {
        loop_stop(loop);
        script_wait_closed(fd);
        return false;
    }
    ask_to_sign_in(fd, head);
    return true;
}

static void upstream_cancels_while_a_token_is_fetched(void **state) {
    (void)state;
    stage(token_never_comes);
    struct probe a = {0}, b = {0};
    begin(&a, (struct fetch_request){.kind = FETCH_MANIFEST}, "app");
    begin(&b, (struct fetch_request){.kind = FETCH_MANIFEST}, "app");
    loop_run(loop); /* until the token service was asked */
    fetch_cancel(a.fetch);
    fetch_cancel(b.fetch);
    running = 0;
    assert_int_equal(a.dones + b.dones, 0);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(upstream_asks_for_what_is_wanted),
        T(upstream_answers_mean_what_they_say),
        T(upstream_fetches_a_token_and_keeps_it),
        T(upstream_fetches_one_token_for_many),
        T(upstream_sends_the_account_to_the_token_service_only),
        T(upstream_signs_in_with_basic_when_asked),
        T(upstream_stops_when_a_fresh_token_is_refused),
        T(upstream_does_not_run_after_ever_other_challenges),
        T(upstream_renews_a_token_that_is_no_longer_taken),
        T(upstream_withstands_hostile_token_services),
        T(upstream_follows_redirects_without_leaking_the_token),
        T(upstream_refuses_bad_redirects),
        T(upstream_starts_again_once_when_a_signed_url_has_run_out),
        T(upstream_asks_by_get_where_head_is_not_signed_for),
        T(upstream_gives_the_very_part_that_was_asked_for),
        T(upstream_limits_bodies),
        T(upstream_tries_again_only_while_nothing_was_told),
        T(upstream_never_waits_for_ever),
        T(upstream_respects_the_pull_limit),
        T(upstream_tells_when_to_come_again),
        T(upstream_that_is_down_is_not_waited_for_and_found_again),
        T(upstream_asks_the_next_endpoint),
        T(upstream_leaves_a_dead_endpoint_alone),
        T(upstream_prefers_the_faster_endpoint),
        T(upstream_keeps_to_its_cap_in_order),
        T(upstream_pauses_and_resumes),
        T(upstream_cancels_in_every_state),
        T(upstream_cancels_while_a_token_is_fetched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
