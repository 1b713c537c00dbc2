/* The bodies an upstream gives: the very part, no more than wanted, and how fast. */
#include "tests/unit/common/upstream/fixture.h"

static const char *part_answer;
static bool part(struct script_server *s, int fd, const char *head) {
    (void)s;
    keep(head);
    script_say(fd, "%s", part_answer);
    return false;
}

/* The Range of the last request, after a part that was not the one asked for: the whole is asked for. */
#define WHOLE ""

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
        {4, 0, WHOLE, "HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/10\r\nContent-Length: 10\r\n\r\n0123456789",
         ERR_UPSTREAM, ""},
        {4, 3, "bytes=4-6", "HTTP/1.1 206 P\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\n456789",
         ERR_UPSTREAM, ""},
        {4, 0, WHOLE, "HTTP/1.1 206 P\r\nContent-Range: bytes 4-6/10\r\nContent-Length: 3\r\n\r\n456", ERR_UPSTREAM,
         ""},
        {4, 0, WHOLE, "HTTP/1.1 206 P\r\nContent-Length: 6\r\n\r\n456789", ERR_UPSTREAM, ""},
        {4, 0, WHOLE, "HTTP/1.1 206 P\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 3\r\n\r\n456", ERR_UPSTREAM,
         ""},
        {4, 0, WHOLE, "HTTP/1.1 206 P\r\nContent-Range: lines 4-9/10\r\nContent-Length: 6\r\n\r\n456789", ERR_UPSTREAM,
         ""},
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

int main(void) {
    const struct CMUnitTest tests[] = {
        T(upstream_gives_the_very_part_that_was_asked_for),
        T(upstream_limits_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
