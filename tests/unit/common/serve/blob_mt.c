/* Blobs that are held, whose file is lost, and that are held for another repository. */
#include "tests/unit/common/serve/served.h"

#define SIZE ((int64_t)300000)

static struct {
    unsigned char *data;
    struct digest digest;
    struct script source;
    char text[DIGEST_STR_MAX];
    char path[256]; /* of the blob in repository a */
} blob;

/* The blob is held for repository a. From now on the source ends every fetch with `refuse`. */
static int start_held(int refuse) {
    blob.data = random_data(SIZE, &blob.digest);
    digest_str(&blob.digest, blob.text);
    snprintf(blob.path, sizeof(blob.path), "/v2/a/blobs/%s", blob.text);
    script_init(&blob.source, "one", blob.data, SIZE);
    world = (typeof(world)){.sources = {&blob.source}, .n_sources = 1, .advise_size = -1};
    take_all(&blob.source, &blob.digest);
    script_init(&blob.source, "one", blob.data, SIZE);
    blob.source.refuse = refuse;
    served_start(0);
    return 0;
}

static int held_and_source_gone(void **state) {
    (void)state;
    return start_held(ERR_NOT_FOUND);
}

static int held_and_source_there(void **state) {
    (void)state;
    return start_held(0);
}

static int stop(void **state) {
    (void)state;
    served_stop();
    world_clean();
    free(blob.data);
    return 0;
}

static int asked(void) {
    return atomic_load(&blob.source.starts) + atomic_load(&blob.source.heads);
}

static void has_its_headers(const struct visit *v) {
    char etag[DIGEST_STR_MAX + 2];
    snprintf(etag, sizeof(etag), "\"%s\"", blob.text);
    visit_has(v, "Docker-Content-Digest", blob.text);
    visit_has(v, "ETag", etag);
    visit_has(v, "Accept-Ranges", "bytes");
    visit_has(v, "Cache-Control", "max-age=31536000, immutable");
}

static void is_whole(const struct visit *v) {
    if (v->status != 200) fail_msg("%s%s", v->head, v->body);
    visit_has(v, "Content-Type", "application/octet-stream");
    has_its_headers(v);
    assert_int_equal(v->length, SIZE);
    if (!v->body) return;
    assert_int_equal(v->got, SIZE);
    assert_memory_equal(v->body, blob.data, (size_t)SIZE);
}

/* visit_now with space for the blob. */
static struct visit get(const char *path, const char *headers) {
    struct visit v = {.target = path};
    visit_start(&v, NULL, SIZE, headers);
    visit_wait(&v);
    assert_true(v.complete);
    v.body[v.got] = '\0';
    return v;
}

static void held_blob_is_sent_without_its_source(void **state) {
    (void)state;
    struct visit v = get(blob.path, "");
    is_whole(&v);
    visit_has(&v, "Cache-Status", "test; hit");
    visit_clear(&v);
    v = visit_now("HEAD", blob.path, "");
    is_whole(&v);
    visit_has(&v, "Cache-Status", "test; hit");
    visit_clear(&v);
    assert_int_equal(asked(), 0);
}

static void held_blob_is_sent_in_parts(void **state) {
    (void)state;
    static const struct {
        const char *range, *answer;
        int64_t from, to;
    } cases[] = {
        {"Range: bytes=0-0\r\n", "bytes 0-0/300000", 0, 1},
        {"Range: bytes=1000-1999\r\n", "bytes 1000-1999/300000", 1000, 2000},
        {"Range: bytes=299990-\r\n", "bytes 299990-299999/300000", 299990, SIZE},
        {"Range: bytes=-5\r\n", "bytes 299995-299999/300000", 299995, SIZE},
        {"Range: bytes=299000-900000\r\n", "bytes 299000-299999/300000", 299000, SIZE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct visit v = get(blob.path, cases[i].range);
        assert_int_equal(v.status, 206);
        has_its_headers(&v);
        visit_has(&v, "Content-Range", cases[i].answer);
        assert_int_equal(v.got, cases[i].to - cases[i].from);
        assert_memory_equal(v.body, blob.data + cases[i].from, (size_t)v.got);
        visit_clear(&v);
    }
    struct visit v = get(blob.path, "Range: bytes=300000-\r\n");
    visit_is_error(&v, 416, "RANGE_INVALID");
    visit_has(&v, "Content-Range", "bytes */300000");
    visit_has_not(&v, "Cache-Control");
    visit_clear(&v);
    v = get(blob.path, "Range: bytes=5-9\r\nIf-Range: \"another\"\r\n");
    is_whole(&v);
    visit_clear(&v);
    assert_int_equal(asked(), 0);
}

static void held_blob_is_sent_on_its_conditions(void **state) {
    (void)state;
    char headers[256];
    snprintf(headers, sizeof(headers), "If-None-Match: \"%s\"\r\n", blob.text);
    static const char *const methods[] = {"GET", "HEAD"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct visit v = visit_now(methods[i], blob.path, headers);
        assert_int_equal(v.status, 304);
        assert_int_equal(v.got, 0);
        has_its_headers(&v);
        visit_clear(&v);
    }
    struct visit v = get(blob.path, "If-None-Match: \"another\"\r\n");
    is_whole(&v);
    visit_clear(&v);
    v = get(blob.path, "If-Match: \"another\"\r\n");
    visit_is_error(&v, 412, "UNKNOWN");
    visit_clear(&v);
}

static void lose_file(void) {
    char path[256];
    const char *hex = strchr(blob.text, ':') + 1;
    snprintf(path, sizeof(path), "%s/blobs/sha256/%.2s/%s", world.dir, hex, hex);
    assert_int_equal(unlink(path), 0);
}

static void blob_whose_file_is_missing_is_fetched_again(void **state) {
    (void)state;
    lose_file();
    struct visit v = get(blob.path, "");
    is_whole(&v);
    visit_has(&v, "Cache-Status", "test; fwd=miss; detail=\"one\"");
    visit_clear(&v);
    assert_int_equal(atomic_load(&blob.source.starts), 1);
    wait_until_held(&blob.digest);
}

/* A HEAD costs a question and no download. */
static void head_of_a_blob_whose_file_is_missing_is_asked_of_the_source(void **state) {
    (void)state;
    lose_file();
    struct visit v = visit_now("HEAD", blob.path, "");
    is_whole(&v);
    visit_has(&v, "Cache-Status", "test; fwd=miss; detail=\"one\"");
    visit_clear(&v);
    assert_int_equal(atomic_load(&blob.source.heads), 1);
    assert_int_equal(atomic_load(&blob.source.starts), 0);
}

static const char *in_b(char path[256]) {
    snprintf(path, 256, "/v2/b/blobs/%s", blob.text);
    return path;
}

static void blob_of_another_repository_is_not_served_when_the_source_says_no(void **state) {
    (void)state;
    char path[256];
    struct visit v = get(in_b(path), "");
    visit_is_error(&v, 404, "BLOB_UNKNOWN");
    visit_clear(&v);
    v = visit_now("HEAD", path, "");
    visit_is_error(&v, 404, "");
    visit_clear(&v);
    assert_true(asked() > 0);
}

static void blob_of_another_repository_is_served_when_the_source_has_it(void **state) {
    (void)state;
    char path[256];
    struct visit v = get(in_b(path), "");
    is_whole(&v);
    visit_clear(&v);
    assert_true(asked() > 0);
}

#define HELD(test, start) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        HELD(held_blob_is_sent_without_its_source, held_and_source_gone),
        HELD(held_blob_is_sent_in_parts, held_and_source_gone),
        HELD(held_blob_is_sent_on_its_conditions, held_and_source_gone),
        HELD(blob_whose_file_is_missing_is_fetched_again, held_and_source_there),
        HELD(head_of_a_blob_whose_file_is_missing_is_asked_of_the_source, held_and_source_there),
        HELD(blob_of_another_repository_is_not_served_when_the_source_says_no, held_and_source_gone),
        HELD(blob_of_another_repository_is_served_when_the_source_has_it, held_and_source_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
